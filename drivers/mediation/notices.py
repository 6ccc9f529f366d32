"""The machine's user notification (seccomp_unotify(2)): calls that stopped, and how they are answered.

A notice is a call with its six words, copied by the machine when the call was made. What a word points to is not
copied: it lies in memory that the caller's other threads may write at any time. So it is read once, into memory of
ours, and what is then decided on and done is that copy; the machine is never told to go on with the call itself
(SECCOMP_USER_NOTIF_FLAG_CONTINUE), which would read it again.
"""

import errno
import fcntl
import struct
from typing import Final, final

from msgspec import Struct

_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_IS_VALID: Final = 0x40082102
_ADD_DESCRIPTOR: Final = 0x40182103
_SET_FLAGS: Final = 0x40082104
_NOTICE: Final = struct.Struct("=QIIiIQ6Q")
_RESPONSE: Final = struct.Struct("=QqiI")
_ADDED: Final = struct.Struct("=QIIII")
_ID: Final = struct.Struct("=Q")
_BLANK: Final = bytes(_NOTICE.size)
_AT_PLACE: Final = 1
_AND_SEND: Final = 2
_SYNC_WAKE_UP: Final = 1
_CLOEXEC: Final = 0o2000000
assert (_NOTICE.size, _RESPONSE.size, _ADDED.size) == (80, 24, 24), "as the ioctl numbers say"


@final
class Notice(Struct, frozen=True):
    """A call that waits: its cookie, the thread that made it, the call's number and words."""

    id: int
    thread: int
    number: int
    words: tuple[int, ...]


@final
class Notices:
    """The listener of one worker. Answers to a caller that has died meanwhile are False, and change nothing."""

    def __init__(self, listener: int) -> None:
        self.fd = listener
        try:
            fcntl.ioctl(listener, _SET_FLAGS, _SYNC_WAKE_UP)  # Linux 6.6: whoever waits is run at once, on this core
        except OSError:
            pass

    def receive(self) -> Notice | None:
        """The next call; None where the one that was announced has died. Raises OSError when nobody is left."""
        try:
            data = fcntl.ioctl(self.fd, _RECEIVE, _BLANK)
        except OSError as failed:
            if failed.errno in (errno.ENOENT, errno.EINTR):
                return None
            raise
        found = _NOTICE.unpack(data)
        return Notice(found[0], found[1], found[3], found[6:])

    def valid(self, notice: Notice) -> bool:
        """Whether the caller still waits, so that what was read of it was its own."""
        return self._told(_IS_VALID, _ID.pack(notice.id))

    def succeed(self, notice: Notice, value: int = 0) -> bool:
        """The call returns `value`."""
        return self._told(_SEND, _RESPONSE.pack(notice.id, value, 0, 0))

    def fail(self, notice: Notice, code: int) -> bool:
        """The call fails with this errno."""
        return self._told(_SEND, _RESPONSE.pack(notice.id, 0, -code, 0))

    def give(self, notice: Notice, fd: int, *, inherited: bool) -> bool:
        """The call returns a descriptor of its own for what `fd` is."""
        flags = 0 if inherited else _CLOEXEC
        return self._told(_ADD_DESCRIPTOR, _ADDED.pack(notice.id, _AND_SEND, fd, 0, flags))

    def put(self, notice: Notice, fd: int, place: int) -> bool:
        """The caller's descriptor `place` becomes what `fd` is; the call goes on waiting."""
        return self._told(_ADD_DESCRIPTOR, _ADDED.pack(notice.id, _AT_PLACE, fd, place, _CLOEXEC))

    def _told(self, request: int, data: bytes) -> bool:
        try:
            fcntl.ioctl(self.fd, request, data)
        except OSError as failed:
            if failed.errno in (errno.ENOENT, errno.EINPROGRESS):
                return False
            raise
        return True

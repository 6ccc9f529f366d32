"""A supervisor's end of its control socket: what the kernel allows and answers, what it is asked and told."""

import errno
import fcntl
import select
import socket
import termios
import time
from typing import Final, final

import msgspec

from syscalls.mediation import (
    DEEDS_BYTES_MAX,
    DEEDS_MAX,
    MESSAGE_BYTES_MAX,
    Answer,
    Ask,
    Deed,
    Did,
    FromSupervisor,
    Grants,
    Over,
    ToSupervisor,
)

KEPT_S: Final = 0.02
"""How long a deed may wait to be told."""
_NOTHING: Final = bytes(4)
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ToSupervisor).decode


class Hangup(Exception):
    """The kernel has gone, or has no use for this supervisor any more."""


@final
class Control:
    """The socket never waits for what comes, and always for what goes: a worker whose deeds the kernel has no time to
    hear of does no others meanwhile."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._deeds: list[Deed] = []
        self._bytes = 0
        self._since_s = 0.0
        self._number = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def hear(self, *, eager: bool = False) -> Grants | Answer | None:
        """What the kernel has said, one message; None where there is none. Raises Hangup, but where it is `eager`: then
        only that nothing is there is certain, and cheap to know."""
        if eager and fcntl.ioctl(self._sock, termios.FIONREAD, _NOTHING) == _NOTHING:
            return None
        try:
            data = self._sock.recv(MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return None
        except OSError:
            raise Hangup from None
        if not data:
            raise Hangup
        message: ToSupervisor = _decode(data)
        return message

    def ask(self, deed: Deed) -> int:
        """Whether it may be; the number that its answer will have. What was done before is told before."""
        self.tell()
        self._number += 1
        self._send(Ask(self._number, deed))
        return self._number

    def did(self, deed: Deed) -> None:
        """It was done, or refused."""
        if not self._deeds:
            self._since_s = time.monotonic()
        self._deeds.append(deed)
        self._bytes += len(bytes(deed.args)) + len(deed.right) + 16
        if len(self._deeds) >= DEEDS_MAX or self._bytes >= DEEDS_BYTES_MAX:
            self.tell()

    def tell(self) -> None:
        """All that was done and has not been told."""
        if self._deeds:
            deeds, self._deeds, self._bytes = tuple(self._deeds), [], 0
            self._send(Did(deeds))

    def over(self) -> None:
        """The worker is gone."""
        self.tell()
        self._send(Over())

    @property
    def wait_ms(self) -> int | None:
        """Until when it has something to tell; None is never."""
        if not self._deeds:
            return None
        return max(0, int((self._since_s + KEPT_S - time.monotonic()) * 1000))

    def _send(self, message: FromSupervisor) -> None:
        data = _encode(message)
        while True:
            try:
                self._sock.send(data)
                return
            except OSError as failed:
                if failed.errno not in (errno.EAGAIN, errno.ENOBUFS):
                    raise Hangup from None
            wait = select.poll()
            wait.register(self._sock, select.POLLOUT)
            wait.poll()

"""Who has connected to the socket, as the system attests it."""

import os
import socket
import struct
import sys

from syscalls.errors import BrokenPipe, NoSyscall

_LINUX = struct.Struct("3i")
_DARWIN_LEVEL = 0
_DARWIN_CREDENTIALS = 1
_DARWIN_PID = 2
_DARWIN = struct.Struct("=IIhxx16I")
"""struct xucred: its version, the uid, the number of groups, the groups."""
_DARWIN_VERSION = 0
_INT = struct.Struct("=i")


def caller_of(sock: socket.socket) -> tuple[int, int]:
    """The pid and the uid at the other end. Raises NoSyscall (ENOSYS) where no way is known to ask: then nobody is let
    in; BrokenPipe (EPIPE) for who has hung up, of whom Darwin tells no pid any more."""
    try:
        if sys.platform == "linux":
            pid, uid, _ = _LINUX.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _LINUX.size))
            return pid, uid
        if sys.platform == "darwin":
            found = sock.getsockopt(_DARWIN_LEVEL, _DARWIN_CREDENTIALS, _DARWIN.size)
            return _INT.unpack(sock.getsockopt(_DARWIN_LEVEL, _DARWIN_PID, _INT.size))[0], uid_in(found)
    except OSError as gone:
        raise BrokenPipe(f"whoever connected has gone: {gone.strerror}") from None
    raise NoSyscall(f"no way is known to ask {sys.platform} who has connected: nobody is let in")


def uid_in(xucred: bytes) -> int:
    """The uid in a `struct xucred` of Darwin. Raises NoSyscall for one of another version."""
    version, uid, *_ = _DARWIN.unpack(xucred.ljust(_DARWIN.size, b"\0"))
    if version != _DARWIN_VERSION:
        raise NoSyscall(
            f"this {os.uname().sysname} tells who has connected in version {version}, which is unknown here"
        )
    return int(uid)

"""Messages whose sender the system attests, on the host's ends of its sockets to the zygote and its children."""

from __future__ import annotations

import socket
import struct
from typing import Final, NamedTuple

from sandbox.limits import MESSAGE_BYTES_MAX

_CREDENTIALS: Final = struct.Struct("iII")
_INT: Final = struct.Struct("i")
_FDS_MAX: Final = 2
_SPACE: Final = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_FDS_MAX * _INT.size)


class Received(NamedTuple):
    """A message, the pid of its sender, and the descriptors that came with it, the caller's to close."""

    data: bytes
    sender: int
    fds: tuple[int, ...]


def attest(sock: socket.socket) -> None:
    """From now on what is received on `sock` names its sender."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def receive_nowait(sock: socket.socket) -> Received | None:
    """The next message; None when all have hung up. Raises BlockingIOError."""
    try:
        data, ancillary, _, _ = sock.recvmsg(MESSAGE_BYTES_MAX, _SPACE, socket.MSG_DONTWAIT)
    except ConnectionResetError:
        # Once, when the far end closed without having read what it was sent; what it said comes after.
        data, ancillary, _, _ = sock.recvmsg(MESSAGE_BYTES_MAX, _SPACE, socket.MSG_DONTWAIT)
    if not data:
        return None
    sender, fds = 0, ()
    for _, kind, content in ancillary:
        if kind == socket.SCM_CREDENTIALS:
            sender = _CREDENTIALS.unpack(content)[0]
        else:
            fds = tuple(fd for (fd,) in _INT.iter_unpack(content))
    return Received(data, sender, fds)

"""Messages whose sender the system attests, on the host's ends of its sockets to the zygote and its children."""

from __future__ import annotations

import socket
import struct
from typing import Final

from sandbox.limits import MESSAGE_BYTES_MAX

_CREDENTIALS: Final = struct.Struct("iII")
_SPACE: Final = socket.CMSG_SPACE(_CREDENTIALS.size)


def attest(sock: socket.socket) -> None:
    """From now on what is received on `sock` names its sender."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def receive_nowait(sock: socket.socket) -> tuple[bytes, int] | None:
    """The next message and the pid of its sender; None when all have hung up. Raises BlockingIOError."""
    try:
        data, ancillary, _, _ = sock.recvmsg(MESSAGE_BYTES_MAX, _SPACE, socket.MSG_DONTWAIT)
    except ConnectionResetError:
        # Once, when the far end closed without having read what it was sent; what it said comes after.
        data, ancillary, _, _ = sock.recvmsg(MESSAGE_BYTES_MAX, _SPACE, socket.MSG_DONTWAIT)
    if not data:
        return None
    pid, _, _ = _CREDENTIALS.unpack(ancillary[0][2])
    return data, int(pid)

"""Names of hosts, for programs that ask the C library: it asks nscd before DNS, and here nscd is the supervisor.

glibc connects to nscd's socket for each lookup, whoever asks: Python, a library in C, a program in another language. So
no program has to be changed, and none needs UDP, /etc/resolv.conf or a resolver of its own. The protocol is glibc's
(nscd-client.h, version 2), of which one request is served: all addresses of a name.
"""

import errno
import ipaddress
import os
import socket
import struct
from typing import Final, final

SOCKET: Final = b"/var/run/nscd/socket"
NAME_BYTES_MAX: Final = 254
_REQUEST: Final = struct.Struct("=3i")
_RESPONSE: Final = struct.Struct("=6i")
_VERSION: Final = 2
_GET_ADDRESSES: Final = 14
_HOST_NOT_FOUND: Final = 1
_TRY_AGAIN: Final = 2


def is_names_socket(address: bytes) -> bool:
    """Whether somebody connects to nscd."""
    return address[2:].partition(b"\0")[0] == SOCKET


@final
class Asker:
    """One lookup, on a socket of its own."""

    def __init__(self) -> None:
        self._sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._got = b""

    def fileno(self) -> int:
        return self._sock.fileno()

    def read(self) -> str | None:
        """The name that is asked for, once all of it has come. Raises OSError for what is not served, or is no more."""
        data = self._sock.recv(_REQUEST.size + NAME_BYTES_MAX + 2)
        self._got += data
        if not data or len(self._got) > _REQUEST.size + NAME_BYTES_MAX + 1:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        if len(self._got) < _REQUEST.size:
            return None
        version, kind, length = _REQUEST.unpack_from(self._got)
        if version != _VERSION or kind != _GET_ADDRESSES or not 0 < length <= NAME_BYTES_MAX:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        if len(self._got) < _REQUEST.size + length:
            return None
        return self._got[_REQUEST.size : _REQUEST.size + length].rstrip(b"\0").decode("ascii", "replace").lower()

    def answer(self, addresses: tuple[str, ...], *, again: bool = False) -> None:
        """Says what there is, and hangs up. None is no such host."""
        found = [ipaddress.ip_address(each) for each in addresses]
        packed = b"".join(each.packed for each in found)
        families = bytes(socket.AF_INET if each.version == 4 else socket.AF_INET6 for each in found)
        error = 0 if found else _TRY_AGAIN if again else _HOST_NOT_FOUND
        head = _RESPONSE.pack(_VERSION, 1 if found else 0, len(found), len(packed), 0, error)
        try:
            self._sock.send(head + packed + families)
        except OSError:  # whoever asked has gone
            pass
        self.close()

    def close(self) -> None:
        self._sock.close()
        self.theirs.close()

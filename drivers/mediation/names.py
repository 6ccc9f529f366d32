"""Names of hosts, for programs that ask the C library: it asks nscd before DNS, and here nscd is the supervisor.

glibc connects to nscd's socket for each lookup, whoever asks: Python, a library in C, a program in another language. So
no program has to be changed, and none needs UDP, /etc/resolv.conf or a resolver of its own. The protocol is glibc's
(nscd-client.h, version 2), of which the requests for a host's addresses are served. It has to be answered well: who is
hung up on asks DNS the next hundred times.
"""

import errno
import ipaddress
import os
import re
import socket
import struct
from typing import Final, final

SOCKET: Final = b"/var/run/nscd/socket"
NAME_BYTES_MAX: Final = 254
_REQUEST: Final = struct.Struct("=3i")
_ADDRESSES: Final = struct.Struct("=6i")
_HOST: Final = struct.Struct("=8i")
_VERSION: Final = 2
_BY_NAME, _BY_NAME_6, _BY_ADDRESS, _BY_ADDRESS_6, _GET_ADDRESSES = 4, 5, 6, 7, 14
_FAMILY: Final = {_BY_NAME: socket.AF_INET, _BY_NAME_6: socket.AF_INET6}
_HOST_NOT_FOUND: Final = 1
_TRY_AGAIN: Final = 2


def is_names_socket(address: bytes) -> bool:
    """Whether somebody connects to nscd."""
    return address[2:].partition(b"\0")[0] == SOCKET


_SERVED: Final = (*_FAMILY, _BY_ADDRESS, _BY_ADDRESS_6, _GET_ADDRESSES)
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@final
class Asker:
    """One lookup, on a socket of its own."""

    def __init__(self) -> None:
        self._sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._got = b""
        self._kind = 0
        self._name = ""

    def fileno(self) -> int:
        return self._sock.fileno()

    def read(self) -> str | None:
        """The name that is asked for, once all of it has come; "" for a question that is answered with no. Raises
        OSError for what is not served, or is no more."""
        data = self._sock.recv(_REQUEST.size + NAME_BYTES_MAX + 2)
        self._got += data
        if not data or len(self._got) > _REQUEST.size + NAME_BYTES_MAX + 1:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        if len(self._got) < _REQUEST.size:
            return None
        version, self._kind, length = _REQUEST.unpack_from(self._got)
        if version != _VERSION or self._kind not in _SERVED or not 0 < length <= NAME_BYTES_MAX:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        if len(self._got) < _REQUEST.size + length:
            return None
        if self._kind in (_BY_ADDRESS, _BY_ADDRESS_6):
            return ""
        name = self._got[_REQUEST.size : _REQUEST.size + length].rstrip(b"\0")
        self._name = name.decode("ascii", "replace").lower().removesuffix(".")
        return self._name if _NAME.fullmatch(self._name) else ""

    def answer(self, addresses: tuple[str, ...], *, again: bool = False) -> None:
        """Says what there is, and hangs up. None is no such host."""
        found = [ipaddress.ip_address(each) for each in addresses]
        error = _TRY_AGAIN if again else _HOST_NOT_FOUND
        try:
            self._sock.send(self._all(found, error) if self._kind == _GET_ADDRESSES else self._host(found, error))
        except OSError:  # whoever asked has gone
            pass
        self.close()

    def _all(self, found: "list[_Address]", error: int) -> bytes:
        """As getaddrinfo has it."""
        packed = b"".join(each.packed for each in found)
        families = bytes(_family(each) for each in found)
        head = _ADDRESSES.pack(_VERSION, bool(found), len(found), len(packed), 0, 0 if found else error)
        return head + packed + families

    def _host(self, found: "list[_Address]", error: int) -> bytes:
        """As gethostbyname has it: of one family, with the name."""
        family = _FAMILY.get(self._kind, socket.AF_INET)
        fit = [each.packed for each in found if _family(each) == family]
        if not fit:
            return _HOST.pack(_VERSION, 0, 0, 0, -1, -1, 0, error)
        name = self._name.encode() + b"\0"
        head = _HOST.pack(_VERSION, 1, len(name), 0, family, len(fit[0]), len(fit), 0)
        return head + name + b"".join(fit)

    def close(self) -> None:
        self._sock.close()
        self.theirs.close()


def _family(address: _Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6

"""Connections for a worker, made here and put in the place of its own socket, which leads nowhere.

The worker's socket lies in its own network, where there is nothing. Ours connects to the one address that was read and
judged, and takes its place; a connection that waits is waited for here, unless the worker's socket does not wait.
"""

import errno
import ipaddress
import os
import socket
import struct
import sys
from typing import Final, final

from msgspec import Struct

from drivers.mediation.descriptors import taken
from drivers.web.addresses import why_private

_FOUR: Final = struct.Struct(">H4s")
_SIX: Final = struct.Struct("=2s4s16sI")
_CARRIED_OVER: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE))
NAMES_OF_ADDRESS_MAX: Final = 16
ADDRESSES_MAX: Final = 1024


@final
class Peer(Struct, frozen=True):
    """Whom a worker wants to reach: `address` as it is written in rights."""

    family: int
    address: str
    port: int
    private: bool
    to: tuple[str, int] | tuple[str, int, int, int]


def read_address(data: bytes) -> Peer:
    """Of IPv4 or IPv6. Raises OSError: EAFNOSUPPORT for any other family."""
    family = int.from_bytes(data[:2], sys.byteorder)
    if family == socket.AF_INET and len(data) >= 8:
        port, raw = _FOUR.unpack_from(data, 2)
        address = str(ipaddress.IPv4Address(raw))
        return Peer(family, address, port, bool(why_private(address)), (address, port))
    if family == socket.AF_INET6 and len(data) >= 28:
        port_raw, _, raw, scope = _SIX.unpack_from(data, 2)
        six = ipaddress.IPv6Address(raw)
        port = int.from_bytes(port_raw, "big")
        written = str(six.ipv4_mapped or six)
        return Peer(family, written, port, bool(why_private(str(six))), (str(six), port, 0, scope))
    raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))


@final
class Known:
    """The names that a worker has looked up, by the addresses that they have."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def found(self, host: str, addresses: tuple[str, ...]) -> None:
        """`host` has these addresses."""
        for address in addresses:
            if address not in self._names and len(self._names) >= ADDRESSES_MAX:
                self._names.clear()
            names = self._names.setdefault(address, {})
            names.pop(host, None)
            names[host] = None
            if len(names) > NAMES_OF_ADDRESS_MAX:
                del names[next(iter(names))]

    def names(self, address: str) -> tuple[str, ...]:
        """The latest first."""
        return tuple(reversed(self._names.get(address, {})))


@final
class Own(Struct, frozen=True):
    """What is to be known of the socket that a worker connects: whether its calls wait, its options."""

    family: int
    waits: bool
    options: tuple[int, ...]


def look_at(pidfd: int, number: int) -> Own:
    """The worker's own socket. Raises OSError: it is none, it is not TCP, it is connected."""
    with taken(pidfd, number) as fd, socket.socket(fileno=os.dup(fd)) as sock:
        if sock.type != socket.SOCK_STREAM or sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        try:
            sock.getpeername()
        except OSError as failed:
            if failed.errno not in (errno.ENOTCONN, errno.EINVAL):
                raise
        else:
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        waits = os.get_blocking(fd)
        tcp = sock.family != socket.AF_UNIX
        options = tuple(sock.getsockopt(*option) for option in _CARRIED_OVER) if tcp else ()
        return Own(sock.family, waits, options)


def begin(peer: Peer, own: Own) -> tuple[socket.socket, int]:
    """A socket on its way to `peer`, and what connecting said: 0, EINPROGRESS, or why not."""
    if own.family != peer.family:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    sock = socket.socket(peer.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    try:
        for option, value in zip(_CARRIED_OVER, own.options, strict=True):
            if value:
                sock.setsockopt(*option, value)
        return sock, sock.connect_ex(peer.to)
    except BaseException:
        sock.close()
        raise

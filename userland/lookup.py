"""Names of hosts where the C library does not ask as the supervisor answers: the fallback of `socket.getaddrinfo`.

In the tier `files` names are looked up by the broker, and asked for as glibc asks nscd. Another C library (musl), or a
glibc that was built without nscd, asks DNS, of which there is none in a jail. So where the C library finds nothing,
Python programs ask here, in nscd's words (see drivers.mediation.names). C code that looks up names by itself does not.
"""

import ipaddress
import socket
import struct
from typing import Any, Final

NAME_SERVICE: Final = "/var/run/nscd/socket"
_REQUEST: Final = struct.Struct("=3i")
_ANSWER: Final = struct.Struct("=6i")
_VERSION: Final = 2
_GET_ADDRESSES: Final = 14
_ANSWER_BYTES_MAX: Final = 64 * 1024
_LENGTHS: Final[dict[int, int]] = {socket.AF_INET: 4, socket.AF_INET6: 16}
_by_system: Final = socket.getaddrinfo


def install() -> None:
    """From now on `socket.getaddrinfo` asks a second time, and with it all that stands on it."""
    socket.getaddrinfo = getaddrinfo


def getaddrinfo(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> list[tuple[Any, ...]]:
    """As socket.getaddrinfo. What was found here is given in the order of the broker, IPv4 and IPv6 as they come."""
    try:
        return _by_system(host, port, family, type, proto, flags)
    except socket.gaierror:
        addresses = _asked(host) if isinstance(host, str) and not flags & socket.AI_NUMERICHOST else ()
        fit = [each for each in addresses if not family or _family(each) == family]
        if not fit:
            raise
    flags = flags & ~socket.AI_CANONNAME | socket.AI_NUMERICHOST
    found: list[tuple[Any, ...]] = []
    for address in fit:
        found += _by_system(address, port, _family(address), type, proto, flags)
    return found


def _asked(host: str) -> tuple[str, ...]:
    """The addresses of a name; none where nobody is there to be asked."""
    try:
        name = host.encode("idna") + b"\0"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(NAME_SERVICE)
            sock.sendall(_REQUEST.pack(_VERSION, _GET_ADDRESSES, len(name)) + name)
            said = b""
            while data := sock.recv(4096):
                said += data
                if len(said) > _ANSWER_BYTES_MAX:
                    return ()
    except (OSError, UnicodeError):  # there is none in the other tiers
        return ()
    return read_answer(said)


def read_answer(said: bytes) -> tuple[str, ...]:
    """The addresses in what the name service says; none in what makes no sense."""
    if len(said) < _ANSWER.size:
        return ()
    version, found, count, size, _, _ = _ANSWER.unpack_from(said)
    families = said[_ANSWER.size + size :][:count]
    if version != _VERSION or found != 1 or size < 0 or len(families) != count:
        return ()
    addresses, at = [], _ANSWER.size
    for family in families:
        length = _LENGTHS.get(family, 0)
        if not length or at + length > _ANSWER.size + size:
            return ()
        addresses.append(str(ipaddress.ip_address(said[at : at + length])))
        at += length
    return tuple(addresses)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET

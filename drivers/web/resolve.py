"""From a host's name to addresses: looked up once for each connection, which is then made to just these."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import final

import trio

from syscalls.errors import NotFound, TryAgain

Resolve = Callable[[str], Awaitable[tuple[str, ...]]]
"""All addresses of a name, as numbers. Raises NotFound (ENOENT) for a name that is nobody's."""


async def by_system(host: str) -> tuple[str, ...]:
    """As the machine resolves names: its hosts file, its DNS."""
    try:
        found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as failed:
        if failed.errno == socket.EAI_AGAIN:
            raise TryAgain(f"the name {host} cannot be looked up now: {failed.strerror}") from None
        raise NotFound(f"there is no host {host}: {failed.strerror}") from None
    except UnicodeError:
        raise NotFound(f"there is no host {host}") from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


@final
class WithHosts:
    """Names of an operator's own first, each with its addresses, then those of `then`."""

    def __init__(self, hosts: dict[str, tuple[str, ...]], then: Resolve) -> None:
        self._hosts = hosts
        self._then = then

    async def __call__(self, host: str) -> tuple[str, ...]:
        return self._hosts[host] if host in self._hosts else await self._then(host)


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """`NAME ADDRESS[,ADDRESS…]`, one a line. Raises ValueError for what is no address."""
    hosts = {}
    for line in text.splitlines():
        name, _, addresses = line.strip().partition(" ")
        if name:
            hosts[name.lower()] = tuple(str(ipaddress.ip_address(each.strip())) for each in addresses.split(","))
    return hosts


def is_number(host: str) -> bool:
    """Whether it is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

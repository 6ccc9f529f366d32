"""The driver of the web: the broker through which programs fetch, and the only host that connects to the network for
them.

It holds no rights: whether a request may be made the kernel has checked, and it follows redirects itself. What only
who connects can know is decided here, in `drivers/web`: which address a name has, and whether that is a private one.
Proxies are not used, for behind one nobody can know that; an operator's own names and authorities are the options
`hosts` (`NAME ADDRESS[,ADDRESS…]`, one a line) and `ca_file`.
"""

import ssl
from typing import final

import msgspec
import trio
from msgspec import Struct

from drivers.web.exchange import Exchange
from drivers.web.resolve import Resolve, WithHosts, by_system, parse_hosts
from syscalls import fetching as abi
from syscalls.driver import Kind, Open, Opened
from syscalls.errors import Invalid, NotFound, TryAgain
from syscalls.hooks import Device, hookimpl

EXCHANGES_MAX = 512
CAN = ("http", "https", "gzip", "deflate")


@final
class FetchOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options; see the head of the module."""

    hosts: str = ""
    ca_file: str = ""


@final
class Broker:
    """The exchanges under way, by the numbers that the kernel gave them."""

    def __init__(self, resolve: Resolve, tls: ssl.SSLContext) -> None:
        self._resolve = resolve
        self._tls = tls
        self._exchanges: dict[int, Exchange] = {}
        self.opened = Opened(device=0, can=CAN, detail={"http": "1.1"})

    async def begin(self, call: abi.Begin, /) -> abi.Began:
        if len(self._exchanges) >= EXCHANGES_MAX or call.exchange in self._exchanges:
            raise TryAgain(f"{len(self._exchanges)} requests are under way: wait for some to end")
        exchange = self._exchanges[call.exchange] = Exchange(call, resolve=self._resolve, tls=self._tls)
        try:
            return await exchange.begin()
        except BaseException:
            self._exchanges.pop(call.exchange, None)
            await exchange.close()
            raise

    async def pull(self, call: abi.Pull, /) -> abi.Pulled:
        exchange = self._exchanges.get(call.exchange)
        if exchange is None:
            raise NotFound(f"this broker has no exchange {call.exchange}")
        return await exchange.pull(call.count)

    async def release(self, call: abi.Release, /) -> None:
        exchange = self._exchanges.pop(call.exchange, None)
        if exchange is not None:
            await exchange.close()

    async def resolve(self, call: abi.Resolve, /) -> abi.Resolved:
        return abi.Resolved(addresses=await self._resolve(call.host))

    async def close(self) -> None:
        for number in tuple(self._exchanges):
            await self.release(abi.Release(device=0, exchange=number))
        await trio.lowlevel.checkpoint()


@final
class FetchDriver:
    """Opens brokers; the origin is only a name."""

    name = "fetch"
    kinds: tuple[Kind, ...] = ("fetch",)

    def __init__(self, resolve: Resolve = by_system) -> None:
        self._resolve = resolve

    async def open(self, call: Open, /) -> Device:
        await trio.lowlevel.checkpoint()
        try:
            options = msgspec.convert(call.options, FetchOptions, strict=False)
            hosts = parse_hosts(options.hosts)
        except (msgspec.ValidationError, ValueError) as bad:
            raise Invalid(f"fetch: {bad}") from None
        return Broker(WithHosts(hosts, self._resolve), _tls(options.ca_file))


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as failed:
        raise Invalid(f"ca_file {ca_file}: no certificates can be read from it: {failed}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


@hookimpl
def kernos_driver() -> FetchDriver:
    """The web."""
    return FetchDriver()

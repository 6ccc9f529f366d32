"""The link for clients and hosts on any loop that anyio runs on (trio, asyncio)."""

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import final

import anyio
import anyio.abc

from syscalls.limits import CLIENT_LIMITS, PeerLimits
from syscalls.link.duplex import Duplex, LinkBroken, NoServer, Server, Transport
from syscalls.peer import Peer
from syscalls.wire import Hello, WireError


@final
class AnyioTransport:
    """An anyio byte stream with trio's two methods."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int, /) -> bytes:
        try:
            return await self._stream.receive(max_bytes)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return b""

    async def send_all(self, data: bytes, /) -> None:
        await self._stream.send(data)


async def run(link: Duplex) -> None:
    """Serves the link until it ends, then fails the calls that wait. Never raises for what the other end did."""
    reason = "the other end closed the link"
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_quietly_write, link, tasks.cancel_scope)
            try:
                await link.reader()
            except WireError as breach:
                reason = str(breach)
            except LinkBroken as broken:
                reason = str(broken)
            with anyio.move_on_after(1):
                await _last_words(link)
            tasks.cancel_scope.cancel()
    finally:
        link.hang_up(link.peer.closed or reason)


async def _quietly_write(link: Duplex, scope: anyio.CancelScope) -> None:
    try:
        await link.writer()
    except LinkBroken:
        pass
    scope.cancel()


async def _last_words(link: Duplex) -> None:
    """Gives the writer a moment to send a BYE that explains why this end hung up."""
    while link.peer.outbox and link.peer.closed is not None:  # noqa: ASYNC110 (the outbox is plain bytes)
        await anyio.sleep(0.001)


@contextlib.asynccontextmanager
async def opened(
    transport: Transport,
    *,
    server: Server | None = None,
    limits: PeerLimits = CLIENT_LIMITS,
    hello: Hello | None = None,
) -> AsyncIterator[Duplex]:
    """A running link over `transport`; leaving the block says BYE."""
    link = Duplex(Peer(limits, hello or Hello()), transport, server or NoServer(), anyio.Event)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, link)
        try:
            yield link
        finally:
            link.bye("done")
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await _last_words(link)
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def connect(path: str, *, hello: Hello | None = None) -> AsyncIterator[Duplex]:
    """A running link to the kernel's socket. Raises OSError as connecting does."""
    async with await anyio.connect_unix(path) as stream, opened(AnyioTransport(stream), hello=hello) as link:
        await link.greeted()
        yield link


@contextlib.asynccontextmanager
async def adopt(sock: socket.socket, *, server: Server | None = None, limits: PeerLimits = CLIENT_LIMITS,
                hello: Hello | None = None) -> AsyncIterator[Duplex]:  # fmt: skip
    """A running link over a connected socket that was inherited."""
    stream = await anyio.abc.UNIXSocketStream.from_socket(sock)
    async with stream, opened(AnyioTransport(stream), server=server, limits=limits, hello=hello) as link:
        yield link

"""The link for clients and hosts on any loop that anyio runs on (trio, asyncio)."""

import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from typing import final

import anyio
import anyio.abc
import anyio.lowlevel

from syscalls.limits import CLIENT_LIMITS, PeerLimits
from syscalls.link.duplex import Duplex, NoServer, Server
from syscalls.link.loop import Loop
from syscalls.link.transport import SocketTransport, Transport
from syscalls.peer import Peer
from syscalls.wire import Hello

ANYIO = Loop(
    anyio.Event,
    anyio.create_task_group,
    anyio.move_on_after,
    anyio.wait_readable,
    anyio.wait_writable,
    anyio.notify_closing,
    anyio.lowlevel.checkpoint_if_cancelled,
    anyio.lowlevel.checkpoint,
)
_BUSY_S = 0.01


@final
class AnyioTransport:
    """An anyio byte stream (TLS, a pipe) with trio's two methods."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int, /) -> bytes:
        try:
            return await self._stream.receive(max_bytes)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return b""

    async def send_all(self, data: bytes, /) -> None:
        await self._stream.send(data)


async def run(link: Duplex) -> str:
    """Serves the link until it ends, then fails the calls that wait. Never raises for what the other end did."""
    return await link.run(ANYIO)


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
            await link.last_words(ANYIO, shield=True)
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def connect(path: str, *, hello: Hello | None = None) -> AsyncIterator[Duplex]:
    """A running link to the kernel's socket. Raises OSError as connecting does."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await _connect(sock, path)
    except BaseException:
        sock.close()
        raise
    async with adopt(sock, hello=hello) as link:
        await link.greeted()
        yield link


@contextlib.asynccontextmanager
async def adopt(sock: socket.socket, *, server: Server | None = None, limits: PeerLimits = CLIENT_LIMITS,
                hello: Hello | None = None) -> AsyncIterator[Duplex]:  # fmt: skip
    """A running link over a connected socket, which is closed with it."""
    transport = SocketTransport(sock, ANYIO)
    try:
        async with opened(transport, server=server, limits=limits, hello=hello) as link:
            yield link
    finally:
        transport.close()


async def _connect(sock: socket.socket, path: str) -> None:
    """A unix socket is connected at once, or its listener's queue is full: then a little later."""
    sock.setblocking(False)
    while True:
        try:
            sock.connect(path)
        except OSError as full:
            if full.errno != errno.EAGAIN:
                raise
        else:
            return
        await anyio.sleep(_BUSY_S)

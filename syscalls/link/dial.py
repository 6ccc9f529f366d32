"""A client's session with a remote kernel: connecting, and connecting again while the kernel keeps the session."""

import contextlib
import random
import socket
from collections.abc import AsyncIterator
from typing import final

import anyio

from syscalls.errors import BrokenPipe, SyscallError
from syscalls.limits import ABI_VERSION, CLIENT_LIMITS
from syscalls.link.async_ import AnyioTransport, opened
from syscalls.link.duplex import Duplex
from syscalls.link.session import Joined, SessionOver, SessionTransport, first_frame
from syscalls.link.tls import CONNECT_S, Remote, client_context, farewell, lasting, refusal
from syscalls.session import FEATURE, SessionEnd, greeting
from syscalls.wire import Bye, Hello, WireError, encode, unlike

LEASE_S = 60.0
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.05, 2.0


@final
class TlsConnection:
    """An anyio TLS stream with the three methods of a connection."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._bytes = AnyioTransport(stream)

    async def receive_some(self, max_bytes: int, /) -> bytes:
        return await self._bytes.receive_some(max_bytes)

    async def send_all(self, data: bytes, /) -> None:
        await self._bytes.send_all(data)

    async def aclose(self) -> None:
        await self._stream.aclose()


@final
class Dialer:
    """Connects, and says HELLO for the session of `end`. Called by the transport whenever it needs a connection."""

    def __init__(self, remote: Remote, end: SessionEnd) -> None:
        self._remote = remote
        self._context = client_context(remote)
        self._end = end
        self._session = b""
        self._lease_s = LEASE_S
        self._first: Joined | None = None

    async def first(self) -> None:
        """The first connection, whose failure is the caller's to know. Raises SyscallError."""
        try:
            self._first = await self._greet()
        except (OSError, WireError, anyio.BrokenResourceError, SyscallError) as failed:
            raise refusal(self._remote, failed) from None

    async def __call__(self) -> Joined:
        """The next connection. Raises SessionOver once the kernel has forgotten the session."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        pause_s = _PAUSE_S_MIN
        why = "the connection was lost"
        with anyio.move_on_after(self._lease_s):
            while True:
                try:
                    return await self._greet()
                except (OSError, WireError, anyio.BrokenResourceError, SyscallError) as failed:
                    said = refusal(self._remote, failed)
                    if lasting(failed):
                        raise SessionOver(str(said)) from None
                    why = said.message
                await anyio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)
        raise SessionOver(f"EPIPE: the session's lease of {self._lease_s:g} s is over: {why}")

    async def _greet(self) -> Joined:
        with anyio.fail_after(CONNECT_S):
            connection = TlsConnection(await self._connect())
            try:
                hello = Hello(credential=self._remote.credential)
                await connection.send_all(encode(greeting(hello, self._session, self._end.received)))
                joined = await first_frame(connection)
                if isinstance(joined, Bye):
                    raise farewell(joined.reason)
                self._accept(joined.hello)
            except BaseException:
                await anyio.aclose_forcefully(connection)
                raise
            return joined

    def _accept(self, hello: Hello) -> None:
        if hello.abi != ABI_VERSION:
            raise BrokenPipe(unlike(hello.abi))
        if FEATURE not in hello.features or not hello.session:
            raise BrokenPipe(f"{self._remote} keeps no sessions: its kernos is older than this one; upgrade it there")
        self._session = hello.session
        with contextlib.suppress(KeyError, ValueError):
            self._lease_s = float(hello.info["lease_s"])

    async def _connect(self) -> anyio.abc.ByteStream:
        remote = self._remote
        stream = await anyio.connect_tcp(
            remote.host,
            remote.port,
            ssl_context=self._context,
            tls_hostname=remote.server_name,
            tls_standard_compatible=False,
        )
        sock: socket.socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream


@contextlib.asynccontextmanager
async def connect_remote(remote: Remote) -> AsyncIterator[Duplex]:
    """A running link to a remote kernel. While its session lasts a lost connection only takes time; afterwards calls
    fail with EPIPE. Raises SyscallError when there is no connection to begin with."""
    end = SessionEnd(CLIENT_LIMITS.frame_bytes_max)
    dialer = Dialer(remote, end)
    await dialer.first()
    transport = SessionTransport(end, dialer)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.run)
        try:
            async with opened(transport) as link:
                await link.greeted()
                yield link
        finally:
            with anyio.move_on_after(1, shield=True):
                await transport.flushed()
            transport.end("done")
            tasks.cancel_scope.cancel()

"""A client's session with a remote kernel: connecting, and connecting again while the kernel keeps the session."""

import contextlib
import random
import socket
from collections.abc import AsyncIterator
from typing import final

import anyio

from syscalls.errors import SyscallError, farewell
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.async_ import ANYIO, AnyioTransport, opened
from syscalls.link.duplex import Duplex
from syscalls.link.session import Joined, SessionOver, SessionTransport, first_frame
from syscalls.link.tls import CONNECT_S, Remote, client_context, keep_alive, lasting, refusal
from syscalls.session import LEASE_S, PAUSE_S_MAX, PAUSE_S_MIN, SessionEnd, greeting, lease_of
from syscalls.wire import Bye, Hello, WireError, encode

_FAILURES = (OSError, WireError, anyio.BrokenResourceError, anyio.EndOfStream, SyscallError)
"""How connecting fails; the other end may hang up in the middle of a handshake."""


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
        except _FAILURES as failed:
            raise refusal(self._remote, failed) from None

    async def __call__(self) -> Joined:
        """The next connection. Raises SessionOver once the kernel has forgotten the session."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        pause_s = PAUSE_S_MIN
        why = "the connection was lost"
        with anyio.move_on_after(self._lease_s):
            while True:
                try:
                    return await self._greet()
                except _FAILURES as failed:
                    said = refusal(self._remote, failed)
                    if lasting(failed):
                        raise SessionOver(str(said)) from None
                    why = said.message
                await anyio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
        raise SessionOver(f"EPIPE: the session's lease of {self._lease_s:g} s is over: {why}")

    async def _greet(self) -> Joined:
        with anyio.fail_after(CONNECT_S):
            stream = await self._connect()
            connection = TlsConnection(stream)
            try:
                hello = Hello(credential=self._remote.credential)
                await connection.send_all(encode(greeting(hello, self._session, self._end.received)))
                joined = await first_frame(connection)
                if isinstance(joined, Bye):
                    raise farewell(joined.reason)
                self._lease_s = lease_of(joined.hello, str(self._remote))
                self._session = joined.hello.session
            except BaseException:
                await anyio.aclose_forcefully(stream)
                raise
            return joined

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
        keep_alive(sock)
        return stream


@contextlib.asynccontextmanager
async def connect_remote(remote: Remote) -> AsyncIterator[Duplex]:
    """A running link to a remote kernel. While its session lasts a lost connection only takes time; afterwards calls
    fail with EPIPE. Raises SyscallError when there is no connection to begin with."""
    end = SessionEnd(CLIENT_LIMITS.frame_bytes_max)
    dialer = Dialer(remote, end)
    await dialer.first()
    transport = SessionTransport(end, dialer, ANYIO)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(transport.run)
        try:
            async with opened(transport) as link:
                await link.greeted()
                yield link
        finally:
            tasks.cancel_scope.cancel()

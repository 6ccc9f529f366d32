"""Clients from elsewhere: TLS 1.3, who they are, and from then on their bytes to and fro, unread.

Each client has a connection of its own to the kernel, and what waits for a slow one waits in the kernel, within the
kernel's bounds: here lie at most `CHUNK_BYTES` a client and direction.
"""

import socket
import ssl
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import final

import msgspec
import trio

from syscalls.calls.admission import ADMIT, Admit, Admitted
from syscalls.errors import BrokenPipe, PermissionDenied, SyscallError
from syscalls.link.duplex import Duplex
from syscalls.link.session import Connection, first_frame
from syscalls.link.tls import keep_alive
from syscalls.wire import Bye, Hello, WireError, encode
from userland.gateway.who import Verifier

CHUNK_BYTES = 64 * 1024
HANDSHAKES_MAX = 64
"""When as many have not said who they are, the one that took longest makes room."""
STALLED_S = 300.0
"""A client that takes nothing for so long is given up; its session waits for it as for any that is away."""
_GOODBYE_S = 0.5
_PAUSE_S = 0.1


@final
class Clients:
    """Serves the connections of a listening socket."""

    def __init__(
        self,
        kernel: Duplex,
        socket_path: Path,
        verifier: Verifier,
        context: Callable[[], ssl.SSLContext],
        *,
        connections_max: int,
        handshake_s: float,
    ) -> None:
        self._kernel = kernel
        self._socket_path = socket_path
        self._verifier = verifier
        self._context = context
        self._connections_max = connections_max
        self._handshake_s = handshake_s
        self._handshakes: dict[trio.CancelScope, None] = {}
        self.connected = 0
        self.refused = 0

    async def serve(self, listening: trio.socket.SocketType) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    sock, address = await listening.accept()
                except OSError:  # out of descriptors, or the client was gone before
                    await trio.sleep(_PAUSE_S)
                    continue
                if self.connected >= self._connections_max:
                    self.refused += 1
                    sock.close()
                    continue
                while len(self._handshakes) >= HANDSHAKES_MAX:
                    oldest = next(iter(self._handshakes))
                    del self._handshakes[oldest]
                    oldest.cancel()
                scope = trio.CancelScope()
                self._handshakes[scope] = None
                nursery.start_soon(self._client, trio.SocketStream(sock), f"{address[0]}:{address[1]}", scope)

    async def _client(self, stream: trio.SocketStream, address: str, scope: trio.CancelScope) -> None:
        tls = trio.SSLStream(stream, self._context(), server_side=True, https_compatible=True)
        kernel: trio.SocketStream | None = None
        try:
            scope.deadline = trio.current_time() + self._handshake_s
            with scope:
                kernel = await self._let_in(tls, stream, address)
            self._handshakes.pop(scope, None)
            if kernel is None:
                self.refused += 1
                return
            self.connected += 1
            try:
                await _splice(tls, kernel)
            finally:
                self.connected -= 1
        except Exception:  # a bug of ours, or a file that is not what it was, costs this client and no other
            self.refused += 1
            traceback.print_exc()
        finally:
            self._handshakes.pop(scope, None)
            await _part(stream, kernel)

    async def _let_in(
        self, tls: "trio.SSLStream[trio.SocketStream]", stream: trio.SocketStream, address: str
    ) -> trio.SocketStream | None:
        """The client's connection to the kernel; None for one that is none, with why where it can hear it."""
        try:
            keep_alive(stream.socket)
            await _handshake(tls, stream)
            joined = await first_frame(tls)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError, WireError):
            return None
        if isinstance(joined, Bye):
            return None
        try:
            wanted = self._verifier.admit(tls.getpeercert(), joined.hello.credential, address)
            if not wanted.rights:
                raise PermissionDenied("what this client shows allows nothing: get a credential that names a right")
            return await self._connect(wanted, joined.hello, joined.rest)
        except SyscallError as refused:
            await _send(tls, encode(Bye(str(refused))))
            return None

    async def _connect(self, wanted: Admit, hello: Hello, rest: bytes) -> trio.SocketStream:
        """A connection to the kernel on which the client's HELLO was said, with a ticket for its credential."""
        admitted: Admitted = await self._kernel.call(ADMIT, wanted)
        try:
            kernel = await trio.open_unix_socket(str(self._socket_path))
        except OSError as failed:
            raise BrokenPipe(f"the kernel does not answer: {failed}") from None
        try:
            hello = msgspec.structs.replace(hello, credential=admitted.ticket)
            await kernel.send_all(encode(hello) + rest)
        except BaseException:
            await trio.aclose_forcefully(kernel)
            raise
        return kernel


async def _handshake(tls: "trio.SSLStream[trio.SocketStream]", stream: trio.SocketStream) -> None:
    """Raises BrokenResourceError; the client then hears why in TLS's own words, which trio keeps to itself."""
    try:
        await tls.do_handshake()
    except trio.BrokenResourceError:
        alert: ssl.MemoryBIO = getattr(tls, "_outgoing")  # noqa: B009 (mypy does not know what is not public)
        await stream.send_all(alert.read())
        raise


async def _splice(tls: Connection, kernel: Connection) -> None:
    """Bytes both ways until either end has no more."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_copy, tls, kernel, nursery.cancel_scope)
        nursery.start_soon(_copy, kernel, tls, nursery.cancel_scope)


async def _copy(source: Connection, sink: Connection, scope: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(CHUNK_BYTES):
            with trio.move_on_after(STALLED_S) as stalled:
                await sink.send_all(bytes(data))
            if stalled.cancelled_caught:
                break
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
        pass
    scope.cancel()


async def _send(tls: Connection, data: bytes) -> None:
    try:
        await tls.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
        pass


async def _part(stream: trio.SocketStream, kernel: trio.SocketStream | None) -> None:
    """Closes both ends; the client has a moment to read what was said last."""
    with trio.move_on_after(_GOODBYE_S, shield=True):
        try:
            stream.socket.shutdown(socket.SHUT_WR)
            while await stream.receive_some(
                CHUNK_BYTES
            ):  # closed over unread bytes, TCP would take our last words back
                pass
        except (trio.BrokenResourceError, OSError):
            pass
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)
        if kernel is not None:
            await trio.aclose_forcefully(kernel)

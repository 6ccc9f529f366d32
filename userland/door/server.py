"""HTTP/1.1 over trio, as little of it as a door needs: h11 reads and writes, a handler answers.

Whoever is on the other side shares a machine with nobody but itself: the bounds here keep one program's mistakes from
looking like the kernel's.
"""

import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import final

import h11
import trio
from msgspec import Struct

from userland.door import proxy

CONNECTIONS_MAX = 256
HEADER_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 12 * 1024 * 1024
IDLE_S = 300.0
_RECEIVE_BYTES = 64 * 1024
_GOODBYE_S = 0.5
_LEFT = (trio.BrokenResourceError, trio.ClosedResourceError)
"""How it shows that a client has hung up."""


@final
class Request(Struct, frozen=True):
    """One request, whole. Names of headers are in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@final
class Response(Struct, frozen=True):
    """What is answered: whole, or as it comes."""

    status: int
    body: bytes | AsyncGenerator[bytes, None]
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


Handler = Callable[[Request], Awaitable[Response]]


@final
class TooLarge(Exception):
    """A body beyond BODY_BYTES_MAX."""


async def serve(listening: socket.socket, handler: Handler) -> None:
    """Answers until cancelled."""
    room = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def answer(stream: trio.SocketStream) -> None:
        async with room:
            await _Connection(stream, handler).run()

    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    await trio.serve_listeners(answer, [listener])


@final
class _Connection:
    def __init__(self, stream: trio.SocketStream, handler: Handler) -> None:
        self._stream = stream
        self._handler = handler
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)

    async def run(self) -> None:
        """Request after request, until either side has no more to say."""
        async with self._stream:
            try:
                while await self._one():
                    self._http.start_next_cycle()
            except h11.RemoteProtocolError as bad:
                await self._last_words(Response(bad.error_status_hint, str(bad).encode(), _PLAIN))
            except TooLarge:
                await self._last_words(Response(413, b"the body is larger than 12 MiB", _PLAIN))
            except _LEFT:
                pass

    async def _one(self) -> bool:
        """One request and its answer; whether another may follow."""
        request = await self._read()
        if request is None:
            return False
        if request.method == "CONNECT" or "://" in request.path:
            await self._pass_on(request)
            return False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_left, nursery.cancel_scope)
            response = await self._handler(request)
            with contextlib.suppress(*_LEFT):  # here, for out of a nursery it comes in a group, and ends all doors
                await self._write(response, head=request.method == "HEAD")
            nursery.cancel_scope.cancel()
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _pass_on(self, request: Request) -> None:
        """A request that is not for this door: its client's bytes and those of the server that it names, to and fro."""
        try:
            if request.method == "CONNECT":
                there = await proxy.connect(*proxy.authority(request.path, default_port=443))
                await self._send(h11.Response(status_code=200, headers=[]))
                first = self._http.trailing_data[0]
            else:
                host, port, first = proxy.rewritten(request.method, request.path, request.headers, request.body)
                there = await proxy.connect(host, port)
        except proxy.NoWay as no_way:
            await self._write(Response(no_way.status, str(no_way).encode(), _PLAIN))
            return
        async with there:
            await proxy.splice(self._stream, there, first)

    async def _until_left(self, scope: trio.CancelScope) -> None:
        """A client that leaves gives up its answer: nobody goes on to pay for it."""
        with contextlib.suppress(*_LEFT):
            while data := await self._stream.receive_some(_RECEIVE_BYTES):
                self._http.receive_data(data)  # the next request, early
                if len(self._http.trailing_data[0]) > BODY_BYTES_MAX:
                    break
        scope.cancel()

    async def _read(self) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                with trio.move_on_after(IDLE_S) as idle:
                    self._http.receive_data(await self._stream.receive_some(_RECEIVE_BYTES))
                if idle.cancelled_caught:
                    return None
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES_MAX:
                    raise TooLarge
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None, "a body follows its head"
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
                return Request(head.method.decode(), head.target.decode("latin-1"), headers, bytes(body))
            else:
                return None

    async def _write(self, response: Response, *, head: bool = False) -> None:
        body = response.body
        length = (("content-length", str(len(body))),) if isinstance(body, bytes) else ()
        await self._send(h11.Response(status_code=response.status, headers=[*response.headers, *length]))
        if isinstance(body, bytes):
            if not head:
                await self._send(h11.Data(data=body))
        else:
            async with contextlib.aclosing(body):  # what a client has broken off is not generated further
                async for piece in body:
                    await self._send(h11.Data(data=piece))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)

    async def _last_words(self, response: Response) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        with trio.move_on_after(_GOODBYE_S):
            try:
                await self._write(response)
            except (trio.BrokenResourceError, h11.LocalProtocolError):
                pass


_PLAIN = (("content-type", "text/plain; charset=utf-8"), ("connection", "close"))

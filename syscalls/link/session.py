"""A transport that outlives its connections: what a link runs on where it has a session (see `syscalls/session.py`).

Both ends use it: a client connects again by itself, with growing pauses; the kernel waits for the client to come back.
Which of the two is in the `join` that it is given. The link above sees time pass, and the end of its byte stream when
the session is over.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Protocol, final

from msgspec import Struct

from syscalls.limits import CLIENT_LIMITS
from syscalls.link.loop import Loop, Scope
from syscalls.link.pump import LAST_WORDS_S, RECEIVE_BYTES
from syscalls.session import KEPT_BYTES_MAX, SessionEnd
from syscalls.wire import Bye, Frame, FrameBuffer, Hello, WireError, decode, encode


class SessionOver(Exception):
    """The session cannot go on; the sentence says why, after the name of an errno."""


class Connection(Protocol):
    """A connected byte stream; `receive_some` gives b"" at its end, and either method may raise when it breaks."""

    async def receive_some(self, max_bytes: int, /) -> bytes | bytearray: ...
    async def send_all(self, data: bytes, /) -> None: ...
    async def aclose(self) -> None: ...


@final
class Joined(Struct, frozen=True):
    """A connection on which both ends have said HELLO: the other end's, and what came behind it."""

    connection: Connection
    hello: Hello
    rest: bytes = b""


Join = Callable[[], Awaitable[Joined]]
"""The next connection of a session. Raises SessionOver when there will be none."""


@final
class SessionTransport:
    """Run `run` beside the link's reader and writer. `reason` says why the session ended, "" while it has not.

    `kept_bytes_max` bounds what is kept for the other end: while it is connected, sending waits for it; with
    `ends_when_full`, a session whose other end is away and has left so much is ended, and one whose other end is there
    and reads nothing, acknowledgements included, is not read from either.
    """

    def __init__(
        self,
        end: SessionEnd,
        join: Join,
        loop: Loop,
        *,
        kept_bytes_max: int = KEPT_BYTES_MAX,
        ends_when_full: bool = False,
    ) -> None:
        self.reason = ""
        self._loop = loop
        self._end = end
        self._join = join
        self._kept_bytes_max = kept_bytes_max
        self._ends_when_full = ends_when_full
        self._greeted = False
        self._fresh = bytearray()
        self._connection: Connection | None = None
        self._scope: Scope | None = None
        self._over = False
        self._sending = False
        self._torn = False
        self._parting = b""
        self._news = loop.make_flag()

    @property
    def away(self) -> bool:
        """Whether there is no connection now."""
        return self._connection is None

    async def run(self) -> None:
        """Keeps the session connected until it is over or this is cancelled."""
        try:
            while not self.reason and not self._end.parted:
                await self._use(await self._join())
        except SessionOver as over:
            self.reason = self.reason or str(over)
        finally:
            self._over = True
            self._tell()

    def drop(self, parting: bytes = b"") -> None:
        """Gives up the connection of now, if there is one, with a frame that says why."""
        self._parting = parting if self._connection is not None else b""
        self._connection = None
        if self._scope is not None:
            self._scope.cancel()
        self._tell()

    def end(self, reason: str, parting: bytes = b"") -> None:
        """The session is over, whatever the other end does."""
        self.reason = self.reason or reason
        self._over = True
        self.drop(parting)

    async def receive_some(self, max_bytes: int, /) -> bytes:
        """What the peer above has not seen yet, over as many connections as it takes. A session that is over says BYE
        with the reason, for the other end cannot."""
        while True:
            if self._fresh:
                fresh, self._fresh = bytes(self._fresh), bytearray()
                return fresh
            connection = self._connection
            if connection is None:
                if self._over:
                    return encode(Bye(self.reason)) if self._greeted else b""
                await self._news.wait()
                continue
            if self._ends_when_full and len(self._end.outbox) > self._kept_bytes_max:  # acknowledgements, of nothing
                await self._news.wait()
                continue
            data = await _received(connection, max_bytes)
            if connection is self._connection:  # or it is no more, and what came last comes again
                self._take(data)

    async def send_all(self, data: bytes, /) -> None:
        """Sends whole frames; returns when they are written or the other end is away, and not before less than the
        bound is kept for it. Raises BrokenPipeError beyond it where the session ends then."""
        self._end.put(data)
        self._tell()
        while not self._over and (self._unwritten or self._end.kept_bytes > self._kept_bytes_max):
            if self._connection is None and self._ends_when_full:
                self.end(f"EPIPE: more than {self._kept_bytes_max} bytes are kept for a client that is away")
                raise BrokenPipeError(self.reason)
            await self._news.wait()

    @property
    def _unwritten(self) -> bool:
        return self._connection is not None and (self._sending or bool(self._end.outbox))

    def _take(self, data: bytes | bytearray) -> None:
        if not data:
            self.drop()
            return
        try:
            self._fresh += self._end.feed(bytes(data))
        except WireError as breach:
            self._end.put(encode(Bye(str(breach))))
            self.reason = self.reason or str(breach)
        self._tell()

    async def _use(self, joined: Joined) -> None:
        """One connection, until it breaks or is dropped."""
        connection = joined.connection
        self._torn = False
        try:
            self._end.resume(joined.hello.received)
            if not self._greeted:
                self._fresh += encode(joined.hello)
                self._greeted = True
            self._connection = connection
            with self._loop.move_on_after(math.inf) as self._scope:
                self._take(joined.rest) if joined.rest else self._tell()
                await self._write(connection)
        except WireError as breach:
            raise SessionOver(f"EPIPE: {breach}") from None
        finally:
            if self._connection is connection:
                self._connection = None
            self._scope = None
            self._end.lose()
            self._tell()
            await self._close(connection)

    async def _close(self, connection: Connection) -> None:
        parting, self._parting = self._parting, b""
        with self._loop.move_on_after(LAST_WORDS_S, shield=True):
            try:
                if parting and not self._torn:
                    await connection.send_all(parting)
                await connection.aclose()
            except Exception:  # it is gone either way
                pass

    async def _write(self, connection: Connection) -> None:
        """Writes what there is to write, until the connection breaks or the session has said its last."""
        while self._connection is connection:
            if not self._end.outbox:
                if self.reason:
                    return
                await self._news.wait()
                continue
            data = bytes(self._end.outbox)
            self._end.outbox.clear()
            self._sending = self._torn = True
            try:
                await connection.send_all(data)
                self._torn = False
            except Exception:  # in whatever words its loop has for that
                pass
            finally:
                self._sending = False
                self._tell()
            if self._torn:
                await self._read_to_the_end(connection)
                return

    async def _read_to_the_end(self, connection: Connection) -> None:
        """What the other end said before it closed may be why it did."""
        with self._loop.move_on_after(LAST_WORDS_S):
            while self._connection is connection:
                await self._news.wait()

    def _tell(self) -> None:
        """Wakes all who wait; they look for themselves whether it concerns them."""
        news, self._news = self._news, self._loop.make_flag()
        news.set()


async def first_frame(connection: Connection, *, frame_bytes_max: int = CLIENT_LIMITS.frame_bytes_max) -> Joined | Bye:
    """The other end's HELLO, or the BYE it said instead. Raises ConnectionError when it says neither, WireError for
    what is no frame."""
    frame, rest = await read_frame(connection, frame_bytes_max=frame_bytes_max)
    if isinstance(frame, Bye):
        return frame
    if not isinstance(frame, Hello):
        raise WireError(f"{type(frame).__name__.upper()} before HELLO")
    return Joined(connection, frame, rest)


async def read_frame(connection: Connection, *, frame_bytes_max: int) -> tuple[Frame, bytes]:
    """The first frame and what came behind it. Raises ConnectionError, WireError, and as receiving does."""
    buffer = FrameBuffer(frame_bytes_max)
    seen = bytearray()
    while True:
        data = await connection.receive_some(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the other end closed the connection before it said HELLO")
        seen += data
        for body in buffer.feed(bytes(data)):
            return decode(body), bytes(seen[4 + len(body) :])


async def _received(connection: Connection, max_bytes: int) -> bytes | bytearray:
    try:
        return await connection.receive_some(max_bytes)
    except Exception:  # in whatever words its loop has for that
        return b""

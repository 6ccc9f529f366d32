"""What a program prints: collected without waiting, sent in order, bounded.

`print` cannot wait, so its text is kept here and sent when the program next yields or makes a system call. A program
that prints more than `UNSENT_CHARS_MAX` without ever yielding loses the oldest of it, and a line says how much: to
block would need a thread, to grow would let one process eat the machine, and of a runaway log the end is worth most.
"""

import contextlib
import io
import logging
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, final

import trio

from syscalls.calls import process
from syscalls.calls.process import Stream
from syscalls.errors import BrokenPipe, SyscallError
from syscalls.link.duplex import Duplex
from syscalls.link.ticket import Ticket

UNSENT_CHARS_MAX = 4 * 1024 * 1024
PIECE_CHARS_MAX = 8 * 1024
"""At most four bytes a character, and a piece must fit a frame."""
IN_FLIGHT_MAX = 16
_PARTS_MAX = 128

CURRENT: ContextVar["Output | None"] = ContextVar("kernos_output", default=None)
"""Whose output the running task's prints are."""


@final
class _Piece:
    """Text for one stream that leaves in one call."""

    __slots__ = ("chars", "parts", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.parts: list[str] = []
        self.chars = 0

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.chars += len(text)
        if len(self.parts) >= _PARTS_MAX:  # a thousand tiny prints must not cost a thousand objects
            self.parts = ["".join(self.parts)]

    def text(self) -> str:
        whole = "".join(self.parts)
        return whole if whole.isascii() else whole.encode("utf-8", "replace").decode("utf-8")


@final
class Output:
    """One process's stdout, stderr and log. `run` sends: whoever gives `start`, which runs an async function in a task,
    has it started once there is something to send; many processes never print."""

    def __init__(
        self,
        link: Duplex,
        channel: int,
        *,
        start: Callable[[Callable[[], Awaitable[None]]], object] | None = None,
        unsent_chars_max: int = UNSENT_CHARS_MAX,
    ) -> None:
        self._start = start
        self._over: trio.Event | None = None
        self._link = link
        self._channel = channel
        self._max = unsent_chars_max
        self._pieces: deque[_Piece] = deque()
        self._chars = 0
        self._dropped = 0
        self._sent: deque[Ticket] = deque()
        self._news = trio.Event()
        self._closing = False
        self._token = trio.lowlevel.current_trio_token()

    def write(self, stream: Stream, text: str) -> None:
        """Keeps `text`; never waits. May be called from another thread."""
        for start in range(0, len(text), PIECE_CHARS_MAX):
            self._keep(stream, text[start : start + PIECE_CHARS_MAX])
        while self._chars > self._max:
            oldest = self._pieces.popleft()
            self._chars -= oldest.chars
            self._dropped += oldest.chars
        self._wake()

    def push(self) -> None:
        """Sends what may be in flight now, without waiting: before any other call, so that order is kept."""
        if self._dropped and len(self._sent) < IN_FLIGHT_MAX:
            notice = f"[{self._dropped} characters were dropped here: printed faster than they could be sent]\n"
            self._dropped = 0
            self._send("stderr", notice)
        while self._pieces and len(self._sent) < IN_FLIGHT_MAX:
            piece = self._pieces.popleft()
            self._chars -= piece.chars
            self._send(piece.stream, piece.text())

    async def run(self) -> None:
        """Sends as room comes, until `close` was called and all is sent, or the link has ended."""
        try:
            while not (self._closing and not self._pieces and not self._sent and not self._dropped):
                await self._step()
        except BrokenPipe:
            pass
        finally:
            if self._over is not None:
                self._over.set()

    async def drained(self) -> None:
        """After `close`: waits until all is sent, or the link has ended."""
        if self._pieces or self._dropped or self._sent:
            self._begin()
        if self._over is not None:
            await self._over.wait()

    def close(self) -> None:
        """Nothing more will be printed: `run` ends when what is here has been taken."""
        self._closing = True
        self._news.set()

    async def _step(self) -> None:
        self.push()
        if self._sent:
            try:
                await self._sent.popleft().outcome()
            except BrokenPipe:
                raise
            except SyscallError:  # the kernel did not want it; what else could be said, and where
                pass
        elif not self._closing:
            self._news = trio.Event()
            await self._news.wait()

    def _keep(self, stream: Stream, text: str) -> None:
        last = self._pieces[-1] if self._pieces else None
        if last is None or last.stream != stream or last.chars + len(text) > PIECE_CHARS_MAX:
            last = _Piece(stream)
            self._pieces.append(last)
        last.add(text)
        self._chars += len(text)

    def _send(self, stream: Stream, text: str) -> None:
        try:
            args = process.Output(stream=stream, text=text)
            self._sent.append(self._link.begin(process.OUTPUT, args, channel=self._channel))
        except SyscallError:  # the link has ended, and with it everybody who could have read this
            pass

    def _wake(self) -> None:
        try:
            trio.lowlevel.current_trio_token()
        except RuntimeError:
            self._token.run_sync_soon(self._news_came, idempotent=True)
        else:
            self._news_came()

    def _news_came(self) -> None:
        self._news.set()
        if not self._closing:
            self._begin()

    def _begin(self) -> None:
        if self._start is not None and self._over is None:
            self._over = trio.Event()
            self._start(self.run)


@final
class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer`, for those who write bytes."""

    def __init__(self, write: Callable[[str], int]) -> None:
        self._write = write

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._write(raw.decode("utf-8", "replace"))
        return len(raw)


@final
class Printer(io.TextIOBase):
    """A text stream that belongs to whichever process prints; outside of all, to `fallback`."""

    def __init__(self, stream: Stream, fallback: Any) -> None:
        self._stream = stream
        self._fallback = fallback
        self.buffer = _Bytes(self.write)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        output = CURRENT.get()
        if output is not None:
            output.write(self._stream, text)
        elif self._fallback is not None:
            self._fallback.write(text)
        return len(text)

    def flush(self) -> None:
        if CURRENT.get() is None and self._fallback is not None:
            self._fallback.flush()


@final
class LogOutput(logging.Handler):
    """Log records to the stream `log` of the process that logs."""

    def emit(self, record: logging.LogRecord) -> None:
        output = CURRENT.get()
        if output is not None:
            output.write("log", self.format(record) + "\n")


@contextlib.contextmanager
def captured() -> Iterator[None]:
    """While it lasts, this OS process's stdout, stderr and logging are those of its processes."""
    before = sys.stdout, sys.stderr
    handler = LogOutput()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    sys.stdout, sys.stderr = Printer("stdout", before[0]), Printer("stderr", before[1])
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        sys.stdout, sys.stderr = before

"""System calls from plain threads: the same session, on a loop of its own in a thread behind."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from msgspec import Struct

from syscalls.calls.context import Generated
from syscalls.calls.process import Budget, Exit, ProcessInfo
from syscalls.row import Row
from syscalls.turns import Turn
from userland.sdk.child import Child
from userland.sdk.connect import FileOrText, connect
from userland.sdk.context import Answer
from userland.sdk.device import ToolReply
from userland.sdk.program import Program
from userland.sdk.system import Sys


@final
class BlockingChild:
    """A process that was started, for threads."""

    def __init__(self, sys: "BlockingSys", child: Child) -> None:
        self._sys = sys
        self._child = child
        self.pid = child.pid

    def wait(self, kind: Any = Any, *, timeout_s: float | None = None) -> Any:
        """As `Child.wait`."""
        return self._sys.run(self._child.wait, kind, timeout_s=timeout_s)

    def ended(self, *, timeout_s: float | None = None) -> Exit:
        """As `Child.ended`."""
        exit_: Exit = self._sys.run(self._child.ended, timeout_s=timeout_s)
        return exit_

    def kill(self, signal: str = "TERM") -> None:
        """As `Child.kill`."""
        self._sys.run(self._child.kill, signal)


@final
class BlockingSys:
    """`Sys` for plain threads. Any number of threads may use one at the same time: each waits for its own call."""

    def __init__(self, portal: Any, sys: Sys) -> None:
        self._portal = portal
        self._sys = sys
        self.pid = sys.pid
        self.model = sys.model

    def call(self, row: Row | str, args: Struct | None = None, /, **fields: Any) -> Any:
        """As `Sys.call`: `sys.call("process.list", all=True)`."""
        return self.run(self._sys.call, row, args, **fields)

    def stream(self, row: Row | str, args: Struct | None = None, /, **fields: Any) -> Iterator[Any]:
        """The items of a row that streams, as they come; leaving the loop early gives up the rest."""
        stream = self.run(_plainly, self._sys.stream, row, args, **fields)
        try:
            while (item := self.run(_next, stream)) is not None:
                yield item
        finally:
            self.run(_plainly, stream.close)

    def generate(self, *turns: Turn, **options: Any) -> Generated:
        """One answer without a conversation, whole."""
        answer = self.run(_plainly, self._sys.generate, *turns, **options)
        generated: Generated = self.run(_whole, answer)
        return generated

    def pieces(self, *turns: Turn, **options: Any) -> Iterator[str]:
        """One answer without a conversation, its text as it comes."""
        answer = self.run(_plainly, self._sys.generate, *turns, **options)
        try:
            while (text := self.run(_next, answer)) is not None:
                yield text
        finally:
            self.run(answer.__aexit__, None, None, None)

    def embed(self, *texts: str, model_name: str | None = None) -> list[tuple[float, ...]]:
        """As `Sys.embed`."""
        vectors: list[tuple[float, ...]] = self.run(self._sys.embed, *texts, model_name=model_name)
        return vectors

    def call_tool(self, device_name: str, method: str, /, **arguments: Any) -> ToolReply:
        """As `Sys.call_tool`."""
        reply: ToolReply = self.run(self._sys.call_tool, device_name, method, **arguments)
        return reply

    def spawn(self, program: Program | str, *args: Any, budget: Budget | None = None, **options: Any) -> BlockingChild:
        """As `Sys.spawn`."""
        return BlockingChild(self, self.run(self._sys.spawn, program, *args, budget=budget, **options))

    def self(self) -> ProcessInfo:
        """As `Sys.self`."""
        info: ProcessInfo = self.run(self._sys.self)
        return info

    def run(self, function: Any, /, *args: Any, **options: Any) -> Any:
        """Awaits `function(*args, **options)` on the session's loop and gives what it returns: for whatever of `Sys`
        has no method here, as in `chat = sys.run(sys.asynchronous.open)`."""
        return self._portal.start_task_soon(_awaited, function, args, options).result()

    @property
    def asynchronous(self) -> Sys:
        """The `Sys` behind, whose methods go through `run`."""
        return self._sys


@contextlib.contextmanager
def connect_blocking(
    path: str | Path | None = None,
    *,
    host: str | None = None,
    ca: FileOrText = "",
    cert: FileOrText = "",
    key: FileOrText = "",
    credential: FileOrText = "",
) -> Iterator[BlockingSys]:
    """As `connect`, for plain threads: `with connect_blocking() as sys: …`."""
    from anyio.from_thread import start_blocking_portal

    opening = connect(path, host=host, ca=ca, cert=cert, key=key, credential=credential)
    with start_blocking_portal("asyncio", name="kernos") as portal:
        with portal.wrap_async_context_manager(opening) as sys:
            yield BlockingSys(portal, sys)


async def _awaited(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return await function(*args, **options)


async def _plainly(function: Any, /, *args: Any, **options: Any) -> Any:
    return function(*args, **options)


async def _next(stream: Any) -> Any:
    try:
        return await stream.__anext__()
    except StopAsyncIteration:
        return None


async def _whole(answer: Answer) -> Generated:
    return await answer

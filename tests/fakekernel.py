"""The other end of a worker's link, for tests: a real peer that makes the kernel's calls and answers by a script."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, final

import trio
import trio.testing
from msgspec import Raw

from syscalls import table, worker
from syscalls.calls.context import Generated, Opened, Piece, Usage
from syscalls.calls.process import Nothing
from syscalls.codec import pack, parse_args
from syscalls.errors import NoSyscall, SyscallError
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.duplex import Duplex
from syscalls.link.ticket import Ticket
from syscalls.link.transport import Transport
from syscalls.peer import Peer
from syscalls.turns import Part, Text, ToolCall, Turn
from syscalls.wire import Call, Cancel, Event, Hello
from userland.link import run
from userland.printing import captured
from userland.sdk.encoding import decode, encode
from userland.serving import Worker

CHANNEL = 7
PID = 41


@final
class Streamed:
    """A scripted answer that streams: items, then the result."""

    def __init__(self, items: list[Any], result: Any) -> None:
        self.items = items
        self.result = result


@final
class FakeKernel:
    """Answers system calls from `script`, a function of the arguments by the call's name; remembers every call.

    A script function returns a result, raises a SyscallError, or returns a Streamed; `None` leaves the call unanswered.
    """

    def __init__(self, transport: Transport, script: dict[str, Callable[[Any], Any]]) -> None:
        self.script: dict[str, Callable[[Any], Any]] = {
            "process.output": lambda args: Nothing(),
            "process.note": lambda args: Nothing(),
            **script,
        }
        self.calls: list[tuple[str, Any]] = []
        self.cancelled: list[int] = []
        self.link = Duplex(Peer(CLIENT_LIMITS, Hello()), transport, self, trio.Event)

    def on_call(self, link: Duplex, call: Call) -> None:
        assert isinstance(call.number, int) and call.channel == CHANNEL
        row = table.TABLE[call.number]
        try:
            args = parse_args(row, call.args)
            self.calls.append((row.name, args))
            if row.name not in self.script:
                raise NoSyscall(f"{row.name} is not in this test's script")
            answer = self.script[row.name](args)
        except SyscallError as refused:
            link.fail(call.id, refused)
            return
        if isinstance(answer, Streamed):
            link.items(call.id, [Raw(pack(item)) for item in answer.items])
            link.end(call.id, answer.result)
        elif answer is not None:
            link.reply(call.id, answer)

    def on_cancel(self, link: Duplex, cancel: Cancel) -> None:
        self.cancelled.append(cancel.id)
        link.error(cancel.id, 9, "cancelled")

    def on_event(self, link: Duplex, event: Event) -> None:
        raise AssertionError("workers send no events")

    # What tests say.

    def begin(self, program: str, *args: Any, file: str | None = None, **kwargs: Any) -> Ticket:
        """Runs a program without waiting for it."""
        call = worker.Run(
            pid=PID,
            channel=CHANNEL,
            program=program,
            args=encode(args, what="args"),
            kwargs=encode(kwargs, what="kwargs"),
            file=file,
        )
        return self.link.begin(worker.RUN, call)

    async def run(self, program: str, *args: Any, file: str | None = None, **kwargs: Any) -> Any:
        """Runs a program and waits for what it returns."""
        return decode((await self.begin(program, *args, file=file, **kwargs).outcome()).value)

    def printed(self, stream: str = "stdout") -> str:
        """All that was printed so far."""
        return "".join(a.text for name, a in self.calls if name == "process.output" and a.stream == stream)

    def named(self, name: str) -> list[Any]:
        """The arguments of all calls of that name so far."""
        return [args for called, args in self.calls if called == name]


@asynccontextmanager
async def in_process(**script: Callable[[Any], Any]) -> AsyncIterator[FakeKernel]:
    """A worker in this OS process over a memory stream; script names are written `context__open`."""
    ours, theirs = trio.testing.memory_stream_pair()
    kernel = FakeKernel(ours, {name.replace("__", "."): answer for name, answer in script.items()})
    serving = Worker(Peer(CLIENT_LIMITS, Hello()), theirs)
    with captured():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, kernel.link)
            nursery.start_soon(serving.serve)
            await kernel.link.greeted()
            yield kernel
            nursery.cancel_scope.cancel()


def opened(args: Any) -> Opened:
    """A context, whatever was asked for."""
    return Opened(context=3, version=0, window_tokens=4096, model="sim")


def said(*texts: str, calls: tuple[ToolCall, ...] = ()) -> Streamed:
    """A generation that gives the texts as pieces, then the calls."""
    parts: tuple[Part, ...] = (Text("".join(texts)), *calls) if texts else calls
    usage = Usage(prompt_tokens=10, generated_tokens=len(texts))
    result = Generated(turn=Turn("assistant", parts), finish="calls" if calls else "stop", usage=usage)
    return Streamed([Piece(text=text, tokens=1) for text in texts], result)

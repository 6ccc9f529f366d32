"""What a worker does when the kernel calls: run a program, list tools, call a tool, parse a document."""

import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import trio
from msgspec import Raw

from syscalls import worker
from syscalls.codec import pack, unpack
from syscalls.errors import Canceled, Errno, IOFailed, NotFound, SyscallError
from syscalls.link import duplex
from syscalls.link.duplex import Duplex
from syscalls.link.transport import SocketTransport, Transport
from syscalls.peer import Peer
from syscalls.row import Row
from syscalls.wire import NIL, Call, Cancel, Event
from syscalls.worker import Describe, Described, Invoke, Parse, Returned, Run, Yielded
from userland.link import TRIO
from userland.loading import load_program, load_tools, see_packages
from userland.overrun import overrun
from userland.parsing import parse
from userland.printing import CURRENT, Output
from userland.sdk.door import Door
from userland.sdk.encoding import encode
from userland.sdk.inbox import Inbox
from userland.sdk.program import Program, Tool
from userland.sdk.signature import bind, help_text, parse_argv, wants_help
from userland.sdk.sole import sole
from userland.sdk.system import Sys
from userland.yielding import collect, pour

_OURS = (__file__, str(Path(__file__).parent / "sdk"), str(Path(duplex.__file__).parent))
ARGV = "__argv__"
"""A keyword argument of this name holds command-line words, to be read by the program's signature."""


@final
class Worker:
    """Serves the worker ABI on one link. Every call has a task and a scope; `serve` returns when the link has ended.

    `programs` are found by reference before anything is imported: for a worker without a jail, in tests.
    """

    def __init__(self, peer: Peer, transport: Transport, *, programs: Mapping[str, Program] | None = None) -> None:
        self.link = Duplex(peer, transport, self, trio.Event)
        self._nursery: trio.Nursery | None = None
        self._scopes: dict[int, trio.CancelScope] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._tools: dict[str, Tool] = {}
        self._programs = programs or {}

    async def serve(self) -> str:
        """Until the kernel hangs up; then whatever still runs is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            reason = await self.link.run(TRIO)
            nursery.cancel_scope.cancel()
        return reason

    # What the link tells.

    def on_call(self, link: Duplex, call: Call) -> None:
        assert self._nursery is not None
        row = worker.TABLE.get(call.number) if isinstance(call.number, int) else None
        if row is None or row is worker.DOOR:
            link.error(call.id, Errno.ENOSYS, f"a worker serves no call {call.number!r}")
            return
        scope = self._scopes[call.id] = trio.CancelScope()
        self._nursery.start_soon(self._serve, call.id, row, call.args, scope)

    def on_cancel(self, link: Duplex, cancel: Cancel) -> None:
        scope = self._scopes.get(cancel.id)
        if scope is not None:
            scope.cancel()

    def on_event(self, link: Duplex, event: Event) -> None:
        inbox = self._inboxes.get(event.channel)
        if inbox is not None:
            inbox.put(event.kind)

    # The calls.

    async def _serve(self, call_id: int, row: Row, raw: Raw, scope: trio.CancelScope) -> None:
        try:
            try:
                args = unpack(row.args, raw)
                if isinstance(args, Run):
                    self.link.reply(call_id, await self._run(args, scope))
                elif isinstance(args, Describe):
                    self.link.reply(call_id, self._describe(args))
                elif isinstance(args, Parse):
                    self.link.reply(call_id, await _contained(lambda: parse(args), scope))
                elif row.streams:
                    await self._stream(call_id, args, scope)
                else:
                    assert isinstance(args, Invoke)
                    self.link.reply(call_id, await self._invoke(args, scope))
            except SyscallError as refused:
                self.link.fail(call_id, refused)
        finally:
            self._scopes.pop(call_id, None)

    async def _run(self, args: Run, scope: trio.CancelScope) -> Returned:
        """One program from its import to its last printed word."""
        assert self._nursery is not None
        output = Output(self.link, args.channel, start=self._nursery.start_soon)
        inbox = self._inboxes[args.channel] = Inbox(trio.Event)
        door = Door(self.link, args.channel, first=output.push)
        system = Sys(door, pid=args.pid, signals=inbox, model=args.model, seed=args.seed)
        token = CURRENT.set(output)
        try:
            try:
                value = await _contained(lambda: _execute(self._find(args), args, system), scope)
                return Returned(value=encode(value, what="the program returned a value of type"))
            finally:
                output.close()
                await output.drained()
        finally:
            CURRENT.reset(token)
            del self._inboxes[args.channel]

    def _find(self, args: Run) -> Program:
        see_packages(args.packages)
        ref = args.program if args.file is None else f"{args.file}:{args.program}"
        return self._programs.get(ref) or load_program(args.program, args.file)

    def _describe(self, args: Describe) -> Described:
        see_packages(args.packages)
        try:
            self._tools = load_tools(args.program, args.file)
        except SyscallError:
            raise
        except BaseException as failed:
            raise _failure(failed) from None
        return Described(
            methods=tuple(tool.spec for tool in self._tools.values()),
            streaming=tuple(name for name, tool in self._tools.items() if tool.streams),
        )

    async def _invoke(self, args: Invoke, scope: trio.CancelScope) -> Returned:
        """One answer; of a tool that yields, all that it yields in a list."""
        tool = self._tool(args.method)
        value = await _contained(lambda: collect(tool, args.arguments, self._system(args)), scope)
        return Returned(value=encode(value, what="the tool returned a value of type"))

    async def _stream(self, call_id: int, args: Invoke, scope: trio.CancelScope) -> None:
        """Item by item: the tool goes on when the kernel has taken the one before."""
        tool = self._tool(args.method)

        async def send(value: Any) -> None:
            item = Yielded(value=encode(value, what="the tool yielded a value of type"))
            self.link.items(call_id, [Raw(pack(item))])
            await self.link.drained(call_id)
            await trio.lowlevel.checkpoint()  # where there is credit for more, a cancellation must come in all the same

        await _contained(lambda: pour(tool, args.arguments, send, self._system(args)), scope)
        self.link.end(call_id, Returned())

    def _system(self, args: Invoke) -> Sys:
        return Sys(Door(self.link, args.channel), pid=args.pid)

    def _tool(self, method: str) -> Tool:
        tool = self._tools.get(method)
        if tool is None:
            there = ", ".join(self._tools) or "none; describe it first"
            raise NotFound(f"no method {method!r}: there are {there}")
        return tool


async def serve_socket(sock: socket.socket, peer: Peer) -> None:
    """Serves the kernel at the other end of a connected socket."""
    transport = SocketTransport(sock, TRIO)
    try:
        await Worker(peer, transport).serve()
    finally:
        transport.close()


async def _execute(program: Program, args: Run, system: Sys) -> Any:
    given = _decoded(list[Any], args.args, [])
    named = _decoded(dict[str, Any], args.kwargs, {})
    if ARGV in named:
        words = [str(word) for word in named.pop(ARGV)]
        signature = program.signature
        if wants_help(words):
            print(help_text(signature))
            return None
        given, parsed = parse_argv(signature, words)
        named.update(parsed)
    ready, options = bind(program.function, given, named)
    return await program.function(system, *ready, **options)


def _decoded(kind: Any, raw: Raw, default: Any) -> Any:
    return default if bytes(raw) == bytes(NIL) else unpack(kind, raw)


async def _contained(body: Callable[[], Any], scope: trio.CancelScope) -> Any:
    """Runs somebody else's code: whatever it raises comes out as a SyscallError, its traceback on stderr.

    A cancellation of the worker itself goes through; one of `scope` is ECANCELED.
    """
    value: Any = None
    try:
        with scope:
            value = await body()
    except BaseException as failed:
        if _worker_ends(failed):
            raise
        if _left_well(failed):
            return None
        raise _failure(failed) from None
    if scope.cancelled_caught:
        raise Canceled("terminated")
    return value


def _worker_ends(failed: BaseException) -> bool:
    if isinstance(failed, BaseExceptionGroup):
        return failed.subgroup(trio.Cancelled) is not None
    return isinstance(failed, trio.Cancelled)


def _left_well(failed: BaseException) -> bool:
    """`sys.exit()` and `sys.exit(0)`: the program has nothing to return."""
    cause = sole(failed)
    return isinstance(cause, SystemExit) and cause.code in (None, 0)


def _failure(failed: BaseException) -> SyscallError:
    """What is told of an exception: a system call's error as it is, anything else as EIO with its type and words."""
    cause = sole(failed)
    if not (isinstance(cause, SyscallError) and _raised_itself(cause)):
        _print_traceback(failed)
    if isinstance(cause, SyscallError):
        return cause
    over = overrun(cause)
    if over is not None:
        return over
    return IOFailed(f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__)


def _raised_itself(error: SyscallError) -> bool:
    """Whether the program made the error itself, as its sentence to the caller, rather than met it in a call."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename != duplex.__file__


def _print_traceback(failed: BaseException) -> None:
    """The program's own frames; those of the worker above and of the SDK below explain nothing. What a program gives
    to sys.exit is its last word, as everywhere."""
    cause = sole(failed)
    if isinstance(cause, SystemExit) and isinstance(cause.code, str):
        print(cause.code, file=sys.stderr)
        return
    told = traceback.TracebackException(type(failed), failed, failed.__traceback__)
    _leave_out_ours(told)
    print("".join(told.format()), end="", file=sys.stderr)


def _leave_out_ours(told: traceback.TracebackException) -> None:
    theirs = [frame for frame in told.stack if not frame.filename.startswith(_OURS)]
    told.stack = traceback.StackSummary.from_list(theirs or list(told.stack))
    for inner in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if inner is not None:
            _leave_out_ours(inner)

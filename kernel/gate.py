"""The gate: every system call of every link comes through here, in one order, and nowhere else is a right checked.

decode, authenticate, right, budget (a call that needs a right counts by itself, the others touch nothing but the
caller; what a body does is held before the work and settled after it), body, outcome, reply. A journal will stand
between authenticate and right (a recorded outcome is returned as it was) and around the body; the order is made for it.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from traceback import clear_frames
from typing import Any, Final, final

import trio
from msgspec import Raw

from kernel.capability import Capability, how_to_grant
from kernel.machine import Machine
from kernel.panic import KernelPanic, contain
from kernel.permission import Lacking, Permission
from kernel.process import Process
from kernel.recorder import Recorder
from kernel.trap import Trap
from kernel.watch.tracetext import KEPT_BYTES_MAX, short
from syscalls.codec import pack, parse_args
from syscalls.errors import BrokenPipe, Canceled, Errno, Invalid, IOFailed, NoSyscall, PermissionDenied, SyscallError
from syscalls.limits import FREE_FORM_BYTES_MAX, PARTS_MAX
from syscalls.link.duplex import Duplex
from syscalls.row import Row
from syscalls.table import BY_NAME, RESERVED, TABLE
from syscalls.turns import has_parts
from syscalls.wire import Call

Handler = Callable[[Machine, Trap, Any], Any]
"""A family handler: plain for INLINE rows, a coroutine function for all others; returns the row's result."""

UNREAD_TOTALS_MAX: Final = 4
"""How often what a link may have on its way may wait to be read: calls were let in before the answers of others were
known to be large."""
_GENERATING = frozenset({"context.generate", "model.generate", "model.score"})
_TURNED = frozenset(number for number, row in TABLE.items() if "turns" in row.args.__struct_fields__)
"""The rows that are given turns."""


@final
class Gate:
    """Lets calls in. One per kernel. `further` serves the calls of installed packages, whose rows come and go."""

    def __init__(
        self, machine: Machine, permission: Permission, handlers: dict[int, Handler], *, further: Handler | None = None
    ) -> None:
        missing = sorted(row.name for number, row in TABLE.items() if number not in handlers)
        assert not missing, f"rows without a handler: {missing}"
        self._machine = machine
        self._permission = permission
        self._handlers = handlers
        self._further = further
        self._rows: dict[int | str, Row] = dict(TABLE) | dict(BY_NAME)
        self._inlines = {number: handler for number, handler in handlers.items() if TABLE[number].inline}
        self.recorder = Recorder(machine.trace, machine.clock, machine.metrics)

    def enter(self, link: Duplex, call: Call, process: Process, nursery: trio.Nursery) -> trio.CancelScope | None:
        """Serves `call` of `process`: at once where it cannot wait, else in a task of its own whose scope is
        returned."""
        row = self._rows.get(call.number) or self._of_package(call.number)
        if row is None:
            link.fail(call.id, _unknown(call.number))
            self._machine.trace.event("unknown_call", pid=process.pid, call=short(call.number))
            return None
        handler = self._inlines.get(row.number)
        if handler is not None and not process.stopped and self._inline(link, call, process, row, handler):
            return None
        scope = trio.CancelScope()
        nursery.start_soon(self._serve, link, call, process, row, scope)
        return scope

    def _of_package(self, key: int | str) -> Row | None:
        """The row of a system call that an installed package adds."""
        return None if self._further is None else self._machine.plugins.row(key)

    def _inline(self, link: Duplex, call: Call, process: Process, row: Row, handler: Handler) -> bool:
        """Answers in the reader's task; whether it did: a process that asks waits for what it lacks."""
        trap = Trap(process=process, row=row, emit=_no_items, room=trio.lowlevel.checkpoint)
        trap.began_s = self._machine.clock.now()
        raw = bytes(call.args)
        args: Any = None
        try:
            args = parse_args(row, raw)
            trap.admitted = self._permission.check(process, row, args, call.channel)
            if row.needs is not None:
                self._machine.accounts.count_call(process.account)
            if process.package:
                self._machine.package_use.used(process, trap.admitted)
            result = handler(self._machine, trap, args)
            packed = link.reply(call.id, result)
        except SyscallError as refused:
            if isinstance(refused, Lacking):
                if process.asks:
                    return False
                self._lacked(process, refused)
            link.fail(call.id, refused)
            self.recorder.refused(trap, raw, args, refused)
        except Exception as bug:
            failure = self._bug(trap, bug)
            link.fail(call.id, failure)
            self.recorder.refused(trap, raw, args, failure)
        else:
            recorder = self.recorder
            if row.number in recorder.jots and len(raw) + len(packed) <= KEPT_BYTES_MAX:
                # Nearly every call comes by here, and what it costs is being cold: a function more costs a half more.
                recorder.jotted.append((trap, raw, packed, recorder.ticks()))
                if len(recorder.jotted) >= recorder.page_calls or recorder.trace.watched:
                    recorder.take_in()
            else:
                recorder.at_once(trap, raw, args, packed, result)
        return True

    async def _serve(self, link: Duplex, call: Call, process: Process, row: Row, scope: trio.CancelScope) -> None:
        trap = Trap(
            process=process,
            row=row,
            emit=self._emitter(link, call.id),
            room=partial(_room, link, call.id),
            scope=scope,
        )
        trap.require = partial(self._require, trap, call.channel)
        self.recorder.begin(trap, call.args)
        args: Any = None
        outcome: SyscallError | None = None
        result: Any = None
        try:
            with scope:
                try:
                    _bound_parts(row, call.args)
                    args = parse_args(row, call.args)
                    await self._while_stopped(process)
                    await self._let_in(trap, args, call.channel)
                    if row.needs is not None:
                        self._machine.accounts.count_call(process.account)
                    result = await self._body(trap, args)
                    await self._while_stopped(process)
                except SyscallError as refused:
                    outcome = refused
                    self._lacked(process, refused)
                except Exception as bug:
                    outcome = self._bug(trap, bug)
        except BaseException as gone:
            self._left(trap, call.args, args)
            # Its traceback goes up with those of all calls of the link, and is not let go of until garbage is sought.
            clear_frames(gone.__traceback__)
            del call, args
            raise
        if scope.cancelled_caught and link.peer.closed is not None:
            self._left(trap, call.args, args)
            return
        if scope.cancelled_caught:
            outcome = _withdrawn(trap) if trap.fallen else Canceled(f"{row.name} was cancelled")
        if outcome is None:
            outcome, packed = self._answer(link, call, row, result)
        if outcome is None:
            self.recorder.done(trap, call.args, args, packed, result)
        else:
            link.fail(call.id, outcome)
            self.recorder.refused(trap, call.args, args, outcome)
            outcome = None  # its traceback holds this frame, and all that the call said
        trap.closed()

    def _left(self, trap: Trap, raw: Raw, args: Any) -> None:
        """Nobody is there to be answered."""
        self.recorder.failed(trap, raw, args, Errno.EPIPE, "its caller has gone while it was under way")
        trap.closed()

    async def _let_in(self, trap: Trap, args: Any, channel: int) -> None:
        """The right. A process that asks waits for the answer instead of being refused."""
        process = trap.process
        try:
            admitted = self._permission.check(process, trap.row, args, channel)
        except Lacking as lacking:
            if not process.asks:
                raise
            await self._machine.requests.ask(process, lacking.right, reason=f"for {trap.row.name}")
            admitted = self._permission.check(process, trap.row, args, channel)
        self._machine.processes.capabilities.follow(admitted, trap)
        self._use(process, admitted)

    def _require(self, trap: Trap, channel: int, action: str, names: tuple[str, ...]) -> str:
        """One more right, for what only shows while the call runs; the call falls with it too."""
        found = self._permission.require(trap.process, trap.row, action, names, channel)
        self._machine.processes.capabilities.follow((*trap.admitted, *found), trap)
        self._use(trap.process, found)
        return found[0].text if found else ""

    def _use(self, process: Process, admitted: tuple[Capability, ...]) -> None:
        """What packages use of what they were granted is counted."""
        if process.package:
            self._machine.package_use.used(process, admitted)

    def _lacked(self, process: Process, refused: SyscallError) -> None:
        if process.package and isinstance(refused, Lacking):
            self._machine.package_use.lacked(process, refused.right)

    async def _body(self, trap: Trap, args: Any) -> Any:
        """The call itself; meanwhile its process is running (a generation) or waiting."""
        generating = trap.row.name in _GENERATING
        trap.process.begin(generating=generating)
        try:
            handler = self._handlers.get(trap.row.number, self._further)
            assert handler is not None, "a row without a handler"
            answer = handler(self._machine, trap, args)
            return await answer if isinstance(answer, Awaitable) else answer
        finally:
            trap.process.finish(generating=generating)
            self._machine.processes.capabilities.leave(trap)

    async def _while_stopped(self, process: Process) -> None:
        """STOP holds the calls of a process, coming in and going out."""
        while process.stopped and process.exit is None:
            await process.resumed.wait()

    def _emitter(self, link: Duplex, call_id: int) -> Callable[[Any], None]:
        bound = self._machine.config.bounds.stream_items_max

        def emit(item: Any) -> None:
            if link.peer.unsent_bytes > link.peer.limits.blob_total_bytes_max:
                raise BrokenPipe(f"{link.peer.unsent_bytes} bytes wait to be read: read the stream, or ask for less")
            if link.items(call_id, [Raw(pack(item))]) > bound:
                raise BrokenPipe(f"{bound} items wait to be read: read the stream, or ask for less")

        return emit

    def _answer(self, link: Duplex, call: Call, row: Row, result: Any) -> tuple[SyscallError | None, bytes]:
        """Sends the result; what it was on the wire, or why it could not cross."""
        waiting, most = link.peer.unsent_bytes, UNREAD_TOTALS_MAX * link.peer.limits.blob_total_bytes_max
        if waiting > most:
            return BrokenPipe(
                f"its answer was dropped, for {waiting} bytes wait to be read: read them as they come"
            ), b""
        try:
            return None, link.end(call.id, result) if row.streams else link.reply(call.id, result)
        except SyscallError as unencodable:
            return unencodable, b""

    def _bug(self, trap: Trap, bug: Exception) -> SyscallError:
        """A bug of ours in a family handler costs one call, not the machine; it is shouted about."""
        why = contain(bug)
        self._machine.trace.event("bug", pid=trap.process.pid, call=trap.row.name, error=repr(bug))
        return IOFailed(f"the kernel failed in {trap.row.name}: {why}")


def _bound_parts(row: Row, raw: Raw) -> None:
    """Raises Invalid (EINVAL) for turns of more parts than are made into objects in one go."""
    data = memoryview(raw)
    if data.nbytes > FREE_FORM_BYTES_MAX and row.number in _TURNED and has_parts(data, PARTS_MAX + 1):
        raise Invalid(f"{row.name}: turns of more than {PARTS_MAX} parts at once; see 'kernos man {row.name}'")


async def _room(link: Duplex, call_id: int) -> None:
    """Waits for the reader. One that gave credit for all there is has room at once, and others have their turn too."""
    await trio.lowlevel.checkpoint()
    await link.drained(call_id)


def _withdrawn(trap: Trap) -> PermissionDenied:
    """What a call is told whose right was revoked under it."""
    assert trap.fallen is not None
    again = how_to_grant(trap.process, trap.fallen.right)
    return PermissionDenied(f"{trap.row.name} was ended: {trap.withdrawn}; {again}")


def _unknown(number: int | str) -> NoSyscall:
    """What a call is told that is in no row (ENOSYS)."""
    if isinstance(number, int) and number in RESERVED:
        return NoSyscall(f"{RESERVED[number]} is reserved for a later kernel")
    return NoSyscall(f"there is no system call {number!r}; 'kernos man' lists them all")


def _no_items(item: Any) -> None:
    raise KernelPanic(f"an inline call streams nothing, yet it emitted {item!r}")

"""Requests: rights asked for at run time, answered by policy, by an answer that stands, or by the operator.

A request is a fact of the truth before anybody is asked: it survives the kernel, and its answer waits for the program
when the process that asked is gone. Programs are known by what was spawned (an installed name or a file), never by what
they call themselves.
"""

import math
from collections.abc import Iterator
from typing import Final, final

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from kernel.capability import Capability, how_to_grant
from kernel.clock import Clock
from kernel.config import RequestsConfig
from kernel.process import Process
from kernel.process_table import INIT_PID, ProcessTable
from kernel.seal import Seals
from kernel.truth import Truth
from kernel.watch.trace import Trace
from syscalls.calls.capability import RequestInfo, RequestState
from syscalls.errors import Invalid, NotFound, PermissionDenied, SyscallError, TryAgain
from syscalls.rights import Right, parse_rights

PENDING_MAX: Final = 256
OF_ONE_PROCESS_MAX: Final = 16
STANDING_MAX: Final = 1024
REASON_CHARS_MAX: Final = 500
WAIT_S_MAX: Final = 7 * 86400.0
_FAMILY = "requests"


@final
class Record(Struct, frozen=True):
    """What is kept of one request. Times in seconds since 1970; `until_s` None: the answer stands."""

    id: int
    principal: str
    program: str
    right: str
    reason: str
    name: str
    pid: int
    state: RequestState
    until_s: float | None
    always: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.principal, self.program, self.right


@final
class _Waiter:
    """A process that waits for an answer, and the answer."""

    def __init__(self) -> None:
        self.told = trio.Event()
        self.answer: Record | None = None


@final
class Requests:
    """All requests of a kernel. `boot` reads those of its former lives."""

    def __init__(
        self,
        config: RequestsConfig,
        *,
        clock: Clock,
        trace: Trace,
        truth: Truth,
        seals: Seals,
        processes: ProcessTable,
    ) -> None:
        self._allow = parse_rights(config.allow)
        self._deny = parse_rights(config.deny)
        self._wait_s = config.wait_s
        self._clock = clock
        self._trace = trace
        self._truth = truth
        self._seals = seals
        self._processes = processes
        self._records: dict[int, Record] = {}
        self._versions: dict[int, int] = {}
        self._waiting: dict[int, dict[Process, _Waiter]] = {}
        self._news = trio.Event()
        self._next = 1
        self.version = 0

    async def boot(self) -> None:
        """Reads what the truth has kept."""
        for name, body in await self._truth.facts(_FAMILY):
            opened = self._seals.of("kernel").open(body, f"{_FAMILY}/{name}")
            record = msgspec.msgpack.decode(opened, type=Record)
            self._next = max(self._next, record.id + 1)
            self._show(record)
        await self._sweep()

    # Asking.

    async def ask(self, process: Process, right: Right, *, reason: str, wait_s: float | None = None) -> Capability:
        """A capability of the process for `right`: the one it holds, or one that is granted now.

        Raises PermissionDenied (EPERM) with why not, TryAgain (EAGAIN) where too many requests wait."""
        wait_s = self._wait_s if wait_s is None else wait_s
        if not 0 < wait_s <= WAIT_S_MAX:
            raise Invalid(f"an answer within {wait_s} s: give more than 0 and at most {WAIT_S_MAX:.0f}")
        if len(reason) > REASON_CHARS_MAX:
            raise Invalid(f"a reason of {len(reason)} characters: {REASON_CHARS_MAX} at most")
        held = process.held.covering(right)
        if held is not None:
            return held
        if process.bare:
            self._trace.event("refuse", pid=process.pid, right=right, why=process.bare)
            raise PermissionDenied(f"process {process.pid} ({process.name}) does not get '{right}': {process.bare}")
        self._check_parent(process, right)
        ruled = self._by_policy(right)
        if ruled is not None:
            return self._carry_out(process, right, *ruled)
        record = await self._record(process, right, reason, wait_s)
        if record.state == "pending":
            record = await self._answered(process, record, wait_s)
        if record.state == "pending":
            return self._carry_out(process, right, False, f"nobody answered request {record.id} within {wait_s:g} s")
        if not record.always and not self._waiting.get(record.id):
            await self._drop(record)
        return self._carry_out(process, right, record.state == "allowed", f"request {record.id} was {record.state}")

    def _check_parent(self, process: Process, right: Right) -> None:
        parent = process.parent
        if parent is not None and parent.held.covering(right) is None:
            self._refuse(
                process, right, f"its parent, process {parent.pid} ({parent.name}), lacks it: that must ask first"
            )

    def _by_policy(self, right: Right) -> tuple[bool, str] | None:
        """What kernos.toml says. What a pattern of `deny` touches at all is denied."""
        for each in self._deny:
            if each.overlaps(right):
                return False, f"deny '{each}' in [requests] of kernos.toml"
        for each in self._allow:
            if each.covers(right):
                return True, f"allow '{each}' in [requests] of kernos.toml"
        return None

    def _carry_out(self, process: Process, right: Right, allow: bool, why: str) -> Capability:
        if not allow:
            self._refuse(process, right, why)
        init = self._processes.get(INIT_PID)
        table = self._processes.capabilities
        return table.derive(init, table.mine(init, 0, right), process, right, why=why)

    def _refuse(self, process: Process, right: Right, why: str) -> None:
        self._trace.event("refuse", pid=process.pid, right=right, why=why)
        raise PermissionDenied(
            f"process {process.pid} ({process.name}) does not get '{right}': {why}; {how_to_grant(process, right)}"
        )

    async def _record(self, process: Process, right: Right, reason: str, wait_s: float) -> Record:
        """The request of this program for that right, made or found; on disk when this returns."""
        await self._sweep()
        until_s = self._clock.unix() + wait_s
        key = process.principal, process.image, str(right)
        found = next((each for each in self._records.values() if each.key == key and process.image), None)
        if found is not None and found.state != "pending":
            return found
        if found is None:
            self._check_room(process)
            found = Record(self._next, *key, reason, process.name, process.pid, "pending", until_s)
            self._next += 1
        else:
            later_s = max(until_s, found.until_s or until_s)
            found = replace(found, reason=reason, name=process.name, pid=process.pid, until_s=later_s)
        self._waiting.setdefault(found.id, {})[process] = _Waiter()
        try:
            await self._keep(found)
        except BaseException:
            self._leave(process, found.id)
            raise
        self._trace.event("request", pid=process.pid, request=found.id, right=right, reason=reason)
        return found

    def _check_room(self, process: Process) -> None:
        pending = sum(each.state == "pending" for each in self._records.values())
        if pending >= PENDING_MAX:
            raise TryAgain(f"{pending} requests wait for an answer: 'kernos requests' shows them to the operator")
        if sum(process in each for each in self._waiting.values()) >= OF_ONE_PROCESS_MAX:
            raise TryAgain(f"process {process.pid} waits for {OF_ONE_PROCESS_MAX} answers: wait for one of them")

    async def _answered(self, process: Process, record: Record, wait_s: float) -> Record:
        """The record as it is when there is an answer, or when the time is over."""
        waiter = self._waiting[record.id][process]
        try:
            with trio.move_on_after(wait_s):
                await waiter.told.wait()
        finally:
            self._leave(process, record.id)
        return waiter.answer or record

    def _leave(self, process: Process, number: int) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None:
            waiting.pop(process, None)
            if not waiting:
                del self._waiting[number]

    # Answering.

    async def answer(self, number: int, allow: bool, *, always: bool, by: Process) -> RequestInfo:
        """Yes or no, on disk when this returns. Raises NotFound (ENOENT), Invalid for a program without a name."""
        record = self._find(number)
        if always and not record.program:
            raise Invalid(f"request {number} is of a process that is no program: answer it once")
        if always and sum(each.always for each in self._records.values()) >= STANDING_MAX:
            raise TryAgain(f"{STANDING_MAX} answers stand: 'kernos requests forget N' drops one")
        state: RequestState = "allowed" if allow else "denied"
        record = replace(record, state=state, always=always, until_s=None if always else record.until_s)
        await self._keep(record)
        self._trace.event(
            "answer", pid=record.pid, request=number, right=record.right, answer=state, always=always, by=by.pid
        )
        info = self._info(record)
        self._wake(record)
        return info

    async def forget(self, number: int, *, by: Process) -> None:
        """Drops a request, as a no for whoever waits, or an answer. Raises NotFound (ENOENT)."""
        record = self._find(number)
        self._trace.event("answer", pid=record.pid, request=number, right=record.right, answer="forgotten", by=by.pid)
        self._wake(replace(record, state="denied"))
        await self._drop(record)

    def changed_since(self, version: int) -> Iterator[RequestInfo]:
        """Those that are new or other than they were at `version`, by number."""
        now_s = self._clock.unix()
        changed = [n for n, at in self._versions.items() if at > version and n in self._records]
        found = (self._records[number] for number in sorted(changed))
        return (self._info(each) for each in found if each.until_s is None or each.until_s > now_s)

    async def changed(self) -> None:
        """Waits for the next request or answer."""
        await self._news.wait()

    def _wake(self, answer: Record) -> None:
        for waiter in self._waiting.get(answer.id, {}).values():
            waiter.answer = answer
            waiter.told.set()

    def _find(self, number: int) -> Record:
        record = self._records.get(number)
        if record is None or (record.until_s or math.inf) <= self._clock.unix():
            raise NotFound(f"no request {number}, or its time is over: 'kernos requests' lists them")
        return record

    def _info(self, record: Record) -> RequestInfo:
        return RequestInfo(
            request=record.id,
            right=record.right,
            reason=record.reason,
            state=record.state,
            pid=record.pid,
            name=record.name,
            program=record.program,
            principal=record.principal,
            waiting=len(self._waiting.get(record.id, {})),
            always=record.always,
            left_s=None if record.until_s is None else max(record.until_s - self._clock.unix(), 0.0),
        )

    # Keeping.

    async def _keep(self, record: Record) -> None:
        """To disk, then for all to see. A request is seen first: its number must not be given twice meanwhile."""
        before = self._records.get(record.id)
        self._records[record.id] = record if before is None else before
        name = str(record.id)
        body = self._seals.of("kernel").close(msgspec.msgpack.encode(record), f"{_FAMILY}/{name}")
        try:
            await self._truth.set_fact(_FAMILY, name, body)
        except SyscallError:
            if before is None:
                del self._records[record.id]
            raise
        self._show(record)

    async def _drop(self, record: Record) -> None:
        if self._records.pop(record.id, None) is None:
            return
        self._versions.pop(record.id, None)
        await self._truth.set_fact(_FAMILY, str(record.id), None)

    async def _sweep(self) -> None:
        """Forgets those whose time is over and for whom nobody waits."""
        now_s = self._clock.unix()
        for record in tuple(self._records.values()):
            if record.until_s is not None and record.until_s <= now_s and record.id not in self._waiting:
                await self._drop(record)

    def _show(self, record: Record) -> None:
        self._records[record.id] = record
        self.version += 1
        self._versions[record.id] = self.version
        news, self._news = self._news, trio.Event()
        news.set()

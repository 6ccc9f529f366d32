"""The process table: who is alive, who is a zombie, who was here lately."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import final

from msgspec.structs import replace

from kernel.accounts.account_record import Account
from kernel.capability import Capability
from kernel.clock import Clock
from kernel.derivation import Capabilities
from kernel.process import NO_LIMITS, Process
from kernel.watch.trace import Trace
from syscalls.calls.process import Exit, Kind
from syscalls.errors import NoSuchProcess, TryAgain
from syscalls.rights import Right
from syscalls.wire import NIL
from syscalls.worker_limits import WorkerLimits

REAPED_KEPT_MAX = 256
KEPT_FREE = 8
"""One in so many places of a full table is for sessions and tools only: the operator can always come in and look."""
INIT_PID = 1
VALUES_BYTES_MAX = 64 << 20
"""Of what the processes below one program returned and nobody has waited for yet, all together."""


@final
class ProcessTable:
    """Gives out pids in order and never twice. Process 1 is the kernel's own: it adopts what outlives its parent."""

    def __init__(self, *, clock: Clock, trace: Trace, processes_max: int) -> None:
        self._clock = clock
        self._trace = trace
        self._max = processes_max
        self._next = INIT_PID
        self.capabilities = Capabilities(clock.now, self._tell)
        self._alive: dict[int, Process] = {}
        self._values: Counter[int] = Counter()
        """Bytes of what zombies returned, by program."""
        self._reaped: deque[Process] = deque(maxlen=REAPED_KEPT_MAX)
        self.at_start: list[Callable[[Process], None]] = []
        """Called with each process that has begun."""
        self.at_end: list[Callable[[Process], None]] = []
        """Called with each process that has ended: whoever keeps things for processes gives them back."""

    def __iter__(self) -> Iterator[Process]:
        return iter(tuple(self._alive.values()))

    def __len__(self) -> int:
        return len(self._alive)

    def add(
        self,
        *,
        parent: Process | None,
        principal: str,
        kind: Kind,
        name: str,
        account: Account,
        rights: tuple[Right, ...],
        nice: int = 0,
        model: str | None = None,
        image: str = "",
        package: str = "",
        packages: tuple[str, ...] = (),
        limits: WorkerLimits | None = None,
    ) -> Process:
        """A new process, ready, with its parent's limits unless it has its own. Raises TryAgain (EAGAIN) when the table
        is full, PermissionDenied (EPERM) for a right that the parent lacks."""
        self.check_room(1, kind)
        pid = self._next
        capabilities = self.capabilities
        held = capabilities.origin(pid, rights) if parent is None else capabilities.inherit(parent, pid, rights)
        process = Process(
            pid=pid,
            parent=parent,
            principal=principal,
            kind=kind,
            name=name,
            account=account,
            held=held,
            nice=nice,
            model=model,
            image=image,
            package=package,
            packages=packages,
            started_s=self._clock.now(),
            limits=limits or (parent.limits if parent is not None else NO_LIMITS),
        )
        self._next += 1
        self._alive[process.pid] = process
        if kind != "tool" and account.parent is not None and not account.pid:
            account.pid = process.pid
        if parent is not None:
            parent.children[process.pid] = process
        for take in self.at_start:
            take(process)
        self._trace.event("spawn", pid=process.pid, parent=parent.pid if parent else 0, name=name, type=kind)
        return process

    def _tell(self, event: str, capability: Capability, why: str) -> None:
        above = capability.parent.id if capability.parent is not None else 0
        self._trace.event(
            event, pid=capability.holder, capability=capability.id, right=capability.text, derived=above, why=why
        )

    def check_room(self, count: int, kind: Kind = "program") -> None:
        """Raises TryAgain (EAGAIN) unless so many more fit."""
        bound = self._max - self._max // KEPT_FREE if kind == "program" else self._max
        if len(self._alive) + count > bound:
            raise TryAgain(
                f"the table holds {bound} processes, {len(self._alive)} are there, {count} more do not fit: "
                "wait for some to end, or raise bounds.processes_max"
            )

    def get(self, pid: int) -> Process:
        """The process that is alive or a zombie under `pid`. Raises NoSuchProcess (ESRCH)."""
        try:
            return self._alive[pid]
        except KeyError:
            raise NoSuchProcess(f"no process {pid}; 'kernos ps' lists them") from None

    def find(self, pid: int) -> Process | None:
        """As `get`, None where there is none."""
        return self._alive.get(pid)

    def in_group(self, group: int) -> list[Process]:
        """Those of a group that are alive or zombies, the oldest first."""
        return [process for process in self._alive.values() if process.group == group]

    def lately(self, pid: int) -> Process:
        """As `get`, and those reaped a while ago too: for their logs."""
        if pid in self._alive:
            return self._alive[pid]
        for process in self._reaped:
            if process.pid == pid:
                return process
        raise NoSuchProcess(f"no process {pid}, nor was there one lately")

    def ended(self, process: Process, exit_: Exit) -> None:
        """`process` has ended: a zombie for its parent, or reaped at once where nobody will wait. What it returned is
        kept for whoever waits, unless too much is kept already: then it has failed."""
        exit_ = self._kept(process, exit_)
        process.die(exit_)
        for give_back in self.at_end:
            give_back(process)
        self._trace.event("exit", pid=process.pid, status=exit_.status, code=exit_.code, error=exit_.error)
        self._orphan(process)
        parent = process.parent
        if parent is None or parent.pid == INIT_PID or parent.exit is not None or process.kind != "program":
            self.reap(process)
            return
        parent.child_changed.ring()

    def reap(self, process: Process) -> None:
        """Forgets a zombie, all but what it printed and how it ended."""
        if process.exit is not None:
            self._values[process.program] -= _size(process.exit)
            if not self._values[process.program]:
                del self._values[process.program]
            process.exit = replace(process.exit, value=NIL)
        self._alive.pop(process.pid, None)
        self._reaped.append(process)
        if process.parent is not None:
            process.parent.children.pop(process.pid, None)

    def _kept(self, process: Process, exit_: Exit) -> Exit:
        size = _size(exit_)
        kept = self._values[process.program]
        if kept + size > VALUES_BYTES_MAX:
            why = f"{process.name} returned {size} bytes, and {kept} are kept that nobody has waited for: wait for some"
            return replace(exit_, status="failed", code=1, value=NIL, error=why)
        self._values[process.program] += size
        return exit_

    def adopt(self, process: Process) -> None:
        """Makes process 1 the parent of `process`."""
        init = self._alive[INIT_PID]
        if process.parent is not None:
            process.parent.children.pop(process.pid, None)
        process.parent = init
        init.children[process.pid] = process

    def _orphan(self, parent: Process) -> None:
        """Zombies of a process that has ended are reaped: nobody can wait for them any more."""
        for child in tuple(parent.children.values()):
            if child.exit is not None:
                self.reap(child)

    def is_descendant(self, process: Process, ancestor: Process) -> bool:
        """Whether `ancestor` is above `process` in the tree of parents."""
        above = process.parent
        while above is not None:
            if above is ancestor:
                return True
            above = above.parent
        return False


def _size(exit_: Exit) -> int:
    """Of what it returned; nothing is nothing."""
    size = memoryview(exit_.value).nbytes
    return size if size > 1 else 0

"""Workers of tools: how one is made, and one that is made for a single call and ends with it.

What a call may use of the machine can be kept to from outside only where it has an OS process to itself: that is ended,
and nobody else is hurt.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, cast, final

import trio

from kernel.clock import Clock
from kernel.config import Bounds
from kernel.link import Entrance
from kernel.packages import Package
from kernel.panic import contain, first
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.workers.launch import Launcher, LaunchRequest, folders_of
from kernel.workers.limit import lowered
from kernel.workers.worker import WorkerHost
from syscalls.calls.process import Exit
from syscalls.errors import BrokenPipe, IOFailed, OutcomeUnknown, OverLimit, SyscallError
from syscalls.link.duplex import Duplex
from syscalls.rights import Right
from syscalls.signals import Signal
from syscalls.worker_limits import CallLimits, show_limit

Use = Callable[[Duplex, Process], Awaitable[None]]
"""Does something over the link of a worker and its process."""


@final
class Birth(NamedTuple):
    """What a tool's worker is: its name and rights, and the package that it imports from and whose limits hold; `bare`
    is why it can be granted nothing while it runs, where that is so."""

    name: str
    rights: tuple[Right, ...]
    package: Package | None
    bare: str = ""


@final
class Home(NamedTuple):
    """Where tools' workers live: whose children they are, and who makes them."""

    gate: Entrance
    processes: ProcessTable
    parent: Process
    launcher: Launcher
    bounds: Bounds
    clock: Clock

    def born(self, birth: Birth, limits: CallLimits | None = None) -> Process:
        """A new process of the tool, held to `limits` besides. Raises TryAgain (EAGAIN) where there are too many."""
        package = birth.package
        ceiling = self.parent.limits if package is None else package.limited(self.parent.limits)
        process = self.processes.add(
            parent=self.parent, principal=self.parent.principal, kind="tool", name=birth.name,
            account=self.parent.account, rights=birth.rights, package=package.name if package is not None else "",
            limits=ceiling if limits is None else lowered(ceiling, limits),
        )  # fmt: skip
        process.bare = birth.bare
        process.tier = package.record.manifest.tier if package is not None else "pure"
        process.limiter = _Ender()
        return process

    async def worker(self, process: Process, birth: Birth) -> WorkerHost:
        """Its worker, about to say HELLO. Raises IOFailed (EIO)."""
        sites = (birth.package.site,) if birth.package is not None else ()
        assert process.tier != "command", "a tool is no command"
        request = LaunchRequest(
            pid=process.pid,
            name=birth.name,
            folders=(*folders_of(birth.rights), *sites),
            limits=process.limits,
            tier=process.tier,
        )
        launched = await self.launcher.launch(request)
        return WorkerHost(process, launched, self.gate, bounds=self.bounds, clock=self.clock)


@final
class Seats:
    """So many workers of their own each caller has at once. What one asks for beyond that waits for its own, and holds
    up nobody else's: a call is cheap to make, a worker is an OS process."""

    def __init__(self, each_max: int) -> None:
        self._each_max = each_max
        self.held: dict[int, trio.CapacityLimiter] = {}

    @asynccontextmanager
    async def of(self, caller: Process) -> AsyncIterator[None]:
        """One of the caller's, until the block ends."""
        seats = self.held.setdefault(caller.pid, trio.CapacityLimiter(self._each_max))
        try:
            async with seats:
                yield
        finally:
            if not seats.borrowed_tokens and not seats.statistics().tasks_waiting:
                self.held.pop(caller.pid, None)


async def in_own_worker(home: Home, birth: Birth, what: str, limits: CallLimits, use: Use) -> None:
    """Does `use` in a worker that is there for nothing else and is ended with it, however far that has come.

    Raises what `use` raises, OverLimit (ELIMIT) with the limit that it ran over, OutcomeUnknown (EUNKNOWN) where the
    worker died, Invalid (EINVAL) for limits that no worker could start under."""
    process = home.born(birth, limits)
    status = "worker_lost"
    failed: SyscallError | None = None
    try:
        failed = await _lived(home, process, birth, limits, use)
        if failed is None:
            status = "done"
            return
        status = "over_limit" if isinstance(failed, OverLimit) else "failed"
    finally:
        error = "" if failed is None else failed.message
        home.processes.ended(process, Exit(pid=process.pid, status=status, error=error))
    raise type(failed)(f"{what} was ended: {failed.message}") if isinstance(failed, OverLimit) else failed


async def _lived(home: Home, process: Process, birth: Birth, limits: CallLimits, use: Use) -> SyscallError | None:
    """How it failed, or None."""
    failed: SyscallError | None = OutcomeUnknown(f"the worker of tool {birth.name} died under the call")
    worker: WorkerHost | None = None

    async def work(wire: Duplex) -> None:
        nonlocal failed
        await use(wire, process)
        failed = None

    with trio.move_on_after(math.inf if limits.wall_s is None else limits.wall_s) as time:
        try:
            worker = await home.worker(process, birth)
            await worker.serve(work)
        except* BrokenPipe:
            pass  # it died, or was ended
        except* SyscallError as group:
            failed = cast(SyscallError, first(group))
        except* Exception as group:
            failed = IOFailed(f"the kernel failed in tool {birth.name}: {contain(group)}")
    if time.cancelled_caught and limits.wall_s is not None:
        return OverLimit(show_limit("wall_s", limits.wall_s))
    over = process.over or (worker.over if worker is not None else "")
    return OverLimit(over) if failed is not None and over else failed


@final
class _Ender:
    """Ends a worker that prints too fast, and with it the calls that it serves."""

    def over(self, process: Process, what: str) -> None:
        """It ran into the limit `what`."""
        if not process.over and process.host is not None:
            process.over = what
            process.host.deliver(Signal.KILL)

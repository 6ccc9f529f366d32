"""The kernel family: about the machine, what happened in it, and its end."""

import os
from typing import final

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.process import Process
from kernel.trap import Trap
from kernel.version import VERSION
from kernel.watch.callentry import CallEntry
from kernel.watch.trace import Entry, EventEntry
from syscalls.calls import kernel as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid
from syscalls.interpreter import interpreter
from syscalls.limits import ABI_VERSION

_BATCH = 256


def info(machine: Machine, trap: Trap, args: abi.Info) -> abi.KernelInfo:
    return abi.KernelInfo(
        version=VERSION,
        abi=ABI_VERSION,
        pid=os.getpid(),
        uptime_s=machine.clock.now(),
        processes=sum(process.kind == "program" for process in machine.processes),
        policy=machine.scheduler.policy,
        socket=str(machine.config.socket_file),
        state_dir=str(machine.config.state_folder),
        calls=machine.trace.calls,
        denials=machine.trace.denials,
        faults=machine.trace.faults,
        tokens=machine.accounts.tokens,
        default_model=machine.devices.default,
        listening=machine.listening,
        queued=machine.scheduler.queued,
        generating=machine.scheduler.seated,
        eviction=machine.evictor.name,
        extensions=tuple(str(each.extension) for each in machine.extensions.loaded),
        disabled=machine.extensions.disabled(),
        python=interpreter(),
    )


async def trace(machine: Machine, trap: Trap, args: abi.Trace) -> Nothing:
    watch = _Watch(machine, args)
    ring, since = machine.trace, args.since
    while True:
        newest = ring.newest
        for looked, (number, entry) in enumerate(ring.entries(since), 1):
            if watch.wanted(entry):
                trap.emit(entry.record(number))
            if looked % _BATCH == 0:  # others go on however many there are, and however few are wanted
                await trap.room()
        since = newest
        if args.begun:
            for entry in watch.begun(but=trap.entry):
                trap.emit(entry.record(newest, "begun"))
        if not args.follow or watch.over:
            return Nothing()
        if ring.newest == newest:
            await ring.changed()


@final
class _Watch:
    """Which entries a reader wants, and whether there can be more: the family of a process grows and ends."""

    def __init__(self, machine: Machine, args: abi.Trace) -> None:
        self._trace = machine.trace
        self._children = args.children
        self._family: set[int] | None = None
        self._alive: set[int] = set()
        self._shown = 0
        if args.pid is None:
            return
        self._family = {args.pid}
        if args.follow:
            self._alive = {args.pid} if machine.processes.lately(args.pid).exit is None else set()
        if args.children:
            below = {p.pid for p in machine.processes if p.exit is None and _is_below(p, args.pid)}
            self._family |= below
            self._alive |= below

    def wanted(self, entry: Entry) -> bool:
        """Whether the entry is shown; learns of births and ends from what goes by."""
        if self._family is None:
            return True
        if isinstance(entry, EventEntry):
            if self._children and entry.kind == "spawn" and int(entry.detail["parent"]) in self._family:
                self._family.add(entry.pid)
                self._alive.add(entry.pid)
            elif entry.kind == "exit":
                self._alive.discard(entry.pid)
        return entry.pid in self._family

    def begun(self, *, but: CallEntry | None) -> list[CallEntry]:
        """The calls under way that were not shown yet, all but the reader's own."""
        fresh = [
            entry
            for number, entry in self._trace.under_way.items()
            if number > self._shown and entry is not but and (self._family is None or entry.pid in self._family)
        ]
        self._shown = max((entry.number for entry in fresh), default=self._shown)
        return fresh

    @property
    def over(self) -> bool:
        """Whether everybody who was watched has ended."""
        return self._family is not None and not self._alive


def _is_below(process: Process, pid: int) -> bool:
    above = process.parent
    while above is not None and above.pid != pid:
        above = above.parent
    return above is not None


async def shutdown(machine: Machine, trap: Trap, args: abi.Shutdown) -> Nothing:
    if not 0 <= args.grace_s <= 600:
        raise Invalid(f"a grace time of {args.grace_s} s: give 0 to 600")
    machine.grace_s = args.grace_s
    machine.power.set()
    return Nothing()


HANDLERS: dict[int, Handler] = {abi.INFO.number: info, abi.TRACE.number: trace, abi.SHUTDOWN.number: shutdown}

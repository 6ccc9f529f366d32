"""What spins is held back from outside: a worker that wants a processor all the time runs only when nobody else does.

Where there is no control group to give workers shares, the system divides the processors equally among all that want
them, and fifty programs in endless loops leave little to the thirty that work. So the kernel looks, ten times a second,
at what each worker used of the processor. One that used SPIN_S without once giving way by itself, as whoever waits for
anything does, goes into the system's idle class (SCHED_IDLE), from which it is run when a processor would stand still
otherwise. One that gives way again comes back, where the system lets it: that takes privilege, without which it stays.
With a control group that shares out the processor it is the group that is made idle, and takes no privilege.

How long a worker ran or waited to run would say the same on an idle machine, and nothing on a busy one: there who works
waits as much as who spins. A computation that runs alone runs as fast as before.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Protocol, final

import trio
from msgspec import Struct

from kernel.watch.trace import Trace
from kernel.workers.family import below

PERIOD_S = 0.1
SPIN_S = 0.05
FEW = 2
"""So often one that spins may have been made to wait, by the machine's kernel."""
COOL_S = 1.0
FAMILY_MAX = 128
"""Processes of one executable that are looked at."""


class Group(Protocol):
    """The control group of a worker. `shares`: the processor is divided among groups, so that a class given to its
    processes means nothing."""

    @property
    def shares(self) -> bool: ...
    def pids(self) -> list[int]: ...
    def give_way(self, yes: bool) -> None: ...


class Demand(Struct):
    """What a worker used, and how often it gave way, when that was last looked at."""

    cpu_s: float = 0.0
    at_s: float = 0.0
    gave_way: int = 0
    idle: bool = False
    group: Group | None = None

    def is_due(self, cpu_s: float, at_s: float) -> bool:
        """Whether there is anything to be judged: it used SPIN_S since, or was demoted COOL_S ago."""
        return at_s - self.at_s >= COOL_S if self.idle else cpu_s - self.cpu_s >= SPIN_S

    def judge(self, cpu_s: float, at_s: float, gave_way: int) -> bool | None:
        """True to demote it, False to bring it back, None to leave it as it is."""
        spins = gave_way - self.gave_way <= FEW
        self.cpu_s, self.at_s, self.gave_way = cpu_s, at_s, gave_way
        if spins != self.idle:
            self.idle = spins
            return spins
        return None


@final
class Family(Struct):
    """An executable: the first process of its jail, and each process in it as it was last seen."""

    first: int
    group: Group | None
    members: dict[int, Demand] = {}

    def pids(self) -> list[int]:
        """Those that there are now."""
        found = self.group.pids() if self.group is not None else below(self.first, FAMILY_MAX)
        return found[:FAMILY_MAX]


@final
class Governor:
    """Watches the workers that it is told of."""

    def __init__(self) -> None:
        self._watched: dict[int, Demand] = {}
        self._families: dict[int, Family] = {}
        self._some = trio.Event()
        self.trace: Trace | None = None

    def watch(self, pid: int, group: Group | None = None) -> None:
        """From now on, until `forget`: the pid must be the worker's all that time."""
        with contextlib.suppress(OSError):  # it is dead already, and soon forgotten
            self._watched[pid] = _now(pid, group)
        self._some.set()

    def watch_family(self, pid: int, group: Group | None = None) -> None:
        """As `watch`, all that runs in the jail of an executable, of which `pid` is the first process: each process is
        judged by itself."""
        self._families[pid] = Family(pid, group)
        self._some.set()

    def forget(self, pid: int) -> None:
        """It is gone, or about to be."""
        self._watched.pop(pid, None)
        self._families.pop(pid, None)
        if not self._watched and not self._families and self._some.is_set():
            self._some = trio.Event()

    def hurry(self, pid: int) -> None:
        """It is to be killed: to die, too, it must be run."""
        demand = self._watched.get(pid)
        if demand is not None and demand.idle:
            with contextlib.suppress(OSError):
                _schedule(pid, demand.group, idle=False)

    async def run(self) -> None:
        """Until it is cancelled; asleep while there is nobody to watch."""
        while True:
            await self._some.wait()
            await trio.sleep(PERIOD_S)
            for pid, demand in tuple(self._watched.items()):
                self._look(pid, demand)
            for family in tuple(self._families.values()):
                self._look_at_all(family)

    def _look_at_all(self, family: Family) -> None:
        there = family.pids()
        for pid in [pid for pid in family.members if pid not in there]:
            gone = family.members.pop(pid)
            if gone.idle and family.group is not None and family.group.shares:
                family.group.give_way(False)
        for pid in there:
            demand = family.members.get(pid)
            if demand is None:
                with contextlib.suppress(OSError):
                    family.members[pid] = _now(pid, family.group)
            else:
                self._look(pid, demand)

    def _look(self, pid: int, demand: Demand) -> None:
        try:
            cpu_s, at_s = time.clock_gettime(_clock_of(pid)), time.monotonic()
            if not demand.is_due(cpu_s, at_s):
                return
            verdict = demand.judge(cpu_s, at_s, gave_way(pid))
            if verdict is not None:
                _schedule(pid, demand.group, idle=verdict)
                if self.trace is not None:
                    self.trace.event("spins" if verdict else "pauses", host=pid)
        except PermissionError:  # back from idle takes privilege; it stays where it is
            demand.idle = True
        except OSError:  # it has ended
            pass


def _now(pid: int, group: Group | None) -> Demand:
    """Raises OSError: it is dead already."""
    cpu_s = time.clock_gettime(_clock_of(pid))
    return Demand(cpu_s=cpu_s, at_s=time.monotonic(), gave_way=gave_way(pid), group=group)


def gave_way(pid: int) -> int:
    """How often the threads of a process have given up a processor by themselves. Raises OSError."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        for line in Path(f"/proc/{pid}/task/{thread}/status").read_bytes().splitlines():
            if line.startswith(b"voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def _clock_of(pid: int) -> int:
    """The processor clock of a process, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | 2


def _schedule(pid: int, group: Group | None, *, idle: bool) -> None:
    """Where groups share the processor, the class of a process counts only in its own group: the group's is set."""
    if group is not None and group.shares:
        group.give_way(idle)
        return
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_IDLE if idle else os.SCHED_OTHER, os.sched_param(0))

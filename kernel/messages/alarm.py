"""Alarms: one heap, one task that sleeps until the next is due, and the signal ALRM for whose it is."""

import heapq
import itertools
from collections.abc import Callable
from typing import final

import trio

from kernel.clock import Clock
from kernel.process import Process
from syscalls.errors import NotFound, TryAgain

LOOK_S = 30.0
"""So often the date is looked at again while an alarm waits for one: the system's clock may have been set."""


@final
class _Alarm:
    """One alarm: due at a time of the kernel's clock, or (`unix_s`) at a date."""

    __slots__ = ("due_s", "id", "process", "unix_s")

    def __init__(self, id_: int, process: Process, due_s: float, unix_s: float | None) -> None:
        self.id = id_
        self.process = process
        self.due_s = due_s
        self.unix_s = unix_s


@final
class Alarms:
    """All alarms. `ring` is called with the process whose alarm is due."""

    def __init__(self, *, clock: Clock, ring: Callable[[Process], None], alarms_max: int) -> None:
        self._clock = clock
        self._ring = ring
        self._max = alarms_max
        self._ids = itertools.count(1)
        self._set: dict[int, _Alarm] = {}
        self._of: dict[int, set[int]] = {}
        self._heap: list[tuple[float, int]] = []
        self._earlier = trio.Event()

    def after(self, process: Process, seconds: float) -> int:
        """Rings for `process` in so many seconds; the alarm's number. Raises TryAgain (EAGAIN) beyond the bound."""
        return self._add(process, self._clock.now() + seconds, None)

    def at(self, process: Process, unix_s: float) -> int:
        """Rings for `process` at a date, however the system's clock is set meanwhile. Raises TryAgain (EAGAIN)."""
        return self._add(process, self._look(unix_s), unix_s)

    def cancel(self, process: Process, id_: int) -> None:
        """Raises NotFound (ENOENT) for what is not an alarm of `process` that is still to ring."""
        if id_ not in self._of.get(process.pid, ()):
            raise NotFound(f"process {process.pid} has no alarm {id_}: it rang, was cancelled, or never was")
        self._forget(self._set[id_])

    def release(self, process: Process) -> None:
        """A process has ended: nothing rings for it any more."""
        for id_ in tuple(self._of.get(process.pid, ())):
            self._forget(self._set[id_])

    async def run(self) -> None:
        """Rings what is due, until cancelled."""
        while True:
            self._earlier = trio.Event()
            self._ring_due()
            with trio.move_on_after(self._heap[0][0] - self._clock.now() if self._heap else float("inf")):
                await self._earlier.wait()

    def _ring_due(self) -> None:
        while self._heap and self._heap[0][0] <= self._clock.now():
            alarm = self._set.get(heapq.heappop(self._heap)[1])
            if alarm is None:
                continue
            if alarm.unix_s is not None and self._clock.unix() < alarm.unix_s:
                heapq.heappush(self._heap, (self._look(alarm.unix_s), alarm.id))
                continue
            self._forget(alarm)
            self._ring(alarm.process)

    def _look(self, unix_s: float) -> float:
        """When to look whether the date has come."""
        return self._clock.now() + max(0.0, min(unix_s - self._clock.unix(), LOOK_S))

    def _add(self, process: Process, due_s: float, unix_s: float | None) -> int:
        mine = self._of.setdefault(process.pid, set())
        if len(mine) >= self._max:
            raise TryAgain(f"{self._max} alarms of process {process.pid} are set: cancel some")
        alarm = _Alarm(next(self._ids), process, due_s, unix_s)
        self._set[alarm.id] = alarm
        mine.add(alarm.id)
        if len(self._heap) > 2 * len(self._set) + 64:  # what was cancelled long before its time
            self._heap = sorted(entry for entry in self._heap if entry[1] in self._set)
        heapq.heappush(self._heap, (due_s, alarm.id))
        self._earlier.set()
        return alarm.id

    def _forget(self, alarm: _Alarm) -> None:
        del self._set[alarm.id]
        mine = self._of[alarm.process.pid]
        mine.discard(alarm.id)
        if not mine:
            del self._of[alarm.process.pid]

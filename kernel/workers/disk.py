"""What workers write to disk is counted from outside, ten times a second, and who has written too much is ended.

The system counts for each process what it writes to files with a disk behind them (write_bytes in proc_pid_io(5)), and
adds to it that of a child that was waited for: so the sum over a jail grows, and if it falls, then by what those wrote
whom nobody waits for. It is counted when it is written, whether or not it is deleted again.

That misses what lies in memory or behind a network, space that is reserved without being written, files without number
that hold nothing, and children that were never seen. All of these leave less room on the file system: where that has
fallen by more than the limit since the worker began, what has changed since then in the folders that it may write to is
measured. What others change in them meanwhile counts with it.
"""

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import trio
from msgspec import Struct, field

from kernel.workers.family import below
from kernel.workers.room import Ground, changed_bytes, ground_of
from syscalls.worker_limits import show_limit

PERIOD_S = 0.1
MEASURING_SHARE = 4
"""What took long to look at, processes or folders, is looked at again after so many times as long."""
FAMILY_MAX = 4096
_TICK_NS = 10_000_000
"""So much the times of files may lag behind the clock."""


class Written(Struct):
    """The sum over a jail, as it is seen one time after another."""

    before: int = 0
    gone: int = 0
    fell: bool = False

    def seen(self, sum_: int) -> int:
        """All that was written. The sum falls for a moment when a process ends between the looks at its parent and at
        itself: only what is still missing at the next look is gone with its writer."""
        if sum_ >= self.before:
            self.before, self.fell = sum_, False
        elif self.fell:
            self.gone += self.before - sum_
            self.before, self.fell = sum_, False
        else:
            self.fell = True
        return self.before + self.gone


class Writer(Struct, kw_only=True):
    """A worker or a jail, how much it may write, and what happens when it has; `ground` is where its files
    lie, or its overlays."""

    pid: int
    most: int
    over: Callable[[str], None]
    ground: Ground = Ground()
    began_ns: int = field(default_factory=lambda: time.time_ns() - _TICK_NS)
    written: Written = field(default_factory=Written)
    measure_at_s: float = 0.0


class DiskWatch:
    """Watches the workers that it is told of."""

    def __init__(self) -> None:
        self._watched: dict[int, Writer] = {}
        self._some = trio.Event()
        self._threads = trio.CapacityLimiter(math.inf)  # one for each writer at most: who waits for long holds up none

    async def ground(self, folders: tuple[str, ...]) -> Ground:
        """These folders, before somebody writes to them; without any, nothing is waited for."""
        if not folders:
            return Ground()
        return await trio.to_thread.run_sync(ground_of, folders, abandon_on_cancel=True, limiter=self._threads)

    def watch(self, writer: Writer) -> None:
        """From now on, until `forget`: the pid must be the worker's all that time."""
        self._watched[writer.pid] = writer
        self._some.set()

    def forget(self, pid: int) -> None:
        """It is gone, or about to be; nothing happens for one that is not watched."""
        self._watched.pop(pid, None)
        if not self._watched and self._some.is_set():
            self._some = trio.Event()

    async def run(self) -> None:
        """Until it is cancelled; asleep while there is nobody to watch. Many processes are looked at less often."""
        spent_s = 0.0
        async with trio.open_nursery() as nursery:
            while True:
                await self._some.wait()
                await trio.sleep(max(PERIOD_S, MEASURING_SHARE * spent_s))
                spent_s = 0.0
                for writer in tuple(self._watched.values()):
                    await trio.lowlevel.checkpoint()  # five hundred processes take twenty milliseconds
                    if self._watched.get(writer.pid) is writer:
                        began_s = time.monotonic()
                        self._look(writer, nursery)
                        spent_s += time.monotonic() - began_s

    def _look(self, writer: Writer, nursery: trio.Nursery) -> None:
        with contextlib.suppress(OSError):  # no descriptor is free: who is not seen now is not gone
            self._judge(writer, writer.written.seen(sum(map(written_bytes, below(writer.pid, FAMILY_MAX)))))
        if writer.ground.rooms and time.monotonic() >= writer.measure_at_s:
            writer.measure_at_s = float("inf")
            nursery.start_soon(self._measure, writer)

    async def _measure(self, writer: Writer) -> None:
        began_s = time.monotonic()
        held = await trio.to_thread.run_sync(held_bytes, writer, abandon_on_cancel=True, limiter=self._threads)
        now_s = time.monotonic()
        writer.measure_at_s = now_s + MEASURING_SHARE * (now_s - began_s)
        self._judge(writer, held)

    def _judge(self, writer: Writer, amount: int) -> None:
        if amount > writer.most and self._watched.get(writer.pid) is writer:
            self.forget(writer.pid)
            writer.over(show_limit("disk_bytes", writer.most))


def written_bytes(pid: int) -> int:
    """What a process has written to disk, those of its children that were waited for included; nothing for one that is
    gone, or that an ordinary user may not look at: the first of a jail. Raises OSError where the kernel itself lacks
    what it takes to look."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for line in Path(f"/proc/{pid}/io").read_bytes().splitlines():
            if line.startswith(b"write_bytes:"):
                return int(line.split()[1])
    return 0


def held_bytes(writer: Writer) -> int:
    """What it takes in its folders, where there is less room by more than its limit, or nothing."""
    if all(room.lost() <= writer.most for room in writer.ground.rooms):
        return 0
    return changed_bytes(writer.ground.folders, writer.began_ns, below(writer.pid, FAMILY_MAX))

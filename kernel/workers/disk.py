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
import errno
import itertools
import math
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import trio
from msgspec import Struct, field

from kernel.workers.family import below
from syscalls.worker_limits import show_limit

PERIOD_S = 0.1
MEASURING_SHARE = 4
"""What took long to look at, processes or folders, is looked at again after so many times as long."""
FAMILY_MAX = 4096
ENTRY_BYTES = 1024
"""What a file or folder takes at least, however little is in it."""
_BLOCK_BYTES = 512
"""Of st_blocks, whatever the file system's own are (inode(7))."""
_ESCAPED = re.compile(rb"\\([0-7]{3})")
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


class Room(Struct):
    """A folder that somebody may write to, and the room on its file system when that began."""

    folder: str
    began: int

    def lost(self) -> int:
        """How much less there is now."""
        return self.began - room_bytes(self.folder)


class Writer(Struct, kw_only=True):
    """A worker or a jail, how much it may write, and what happens when it has; `folders` are those that its files lie
    in, or its overlays."""

    pid: int
    most: int
    over: Callable[[str], None]
    folders: tuple[str, ...] = ()
    began_ns: int = field(default_factory=lambda: time.time_ns() - _TICK_NS)
    rooms: tuple[Room, ...] = ()
    mounted: tuple[Room, ...] | None = None
    """Of file systems that lie below, once they have been looked for."""
    written: Written = field(default_factory=Written)
    measure_at_s: float = 0.0

    def __post_init__(self) -> None:
        self.rooms = tuple(Room(folder, room_bytes(folder)) for folder in self.folders)


class DiskWatch:
    """Watches the workers that it is told of."""

    def __init__(self) -> None:
        self._watched: dict[int, Writer] = {}
        self._some = trio.Event()
        self._threads = trio.CapacityLimiter(math.inf)  # one for each writer at most: who waits for long holds up none

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
        if writer.rooms and time.monotonic() >= writer.measure_at_s:
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


def room_bytes(folder: str) -> int:
    """What can still be written on the file system of a folder; nothing where that cannot be said. Files that hold
    nothing take room, too."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bfree * found.f_frsize + found.f_ffree * ENTRY_BYTES


def held_bytes(writer: Writer) -> int:
    """What it takes in its folders, where they have less room by more than its limit, or nothing. May take as long as
    their file systems do to answer, and that of a server that is down does not."""
    if writer.mounted is None:
        writer.mounted = tuple(Room(folder, room_bytes(folder)) for folder in mounts_below(writer.folders))
    if all(room.lost() <= writer.most for room in (*writer.rooms, *writer.mounted)):
        return 0
    return changed_bytes(writer.folders, writer.began_ns, below(writer.pid, FAMILY_MAX))


def mounts_below(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Where in these folders other file systems begin, which a jail has with the folder; none where that cannot be
    said."""
    tops = tuple(os.fsencode(os.path.realpath(folder).rstrip("/")) + b"/" for folder in folders)
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return ()
    points = (_ESCAPED.sub(lambda found: bytes((int(found[1], 8),)), line.split(b" ")[4]) for line in lines)
    return tuple(os.fsdecode(point) for point in points if point.startswith(tops))


def changed_bytes(folders: tuple[str, ...], since_ns: int, pids: list[int]) -> int:
    """What has changed in these folders since then takes on disk, with what has no name but is open in a process. A
    file of many names counts once. Where something is hidden it is more than any limit."""
    seen = set[tuple[int, int]]()
    total = 0
    try:
        for found in itertools.chain(_named(folders), _nameless(pids)):
            file = found.st_dev, found.st_ino
            if found.st_ctime_ns >= since_ns and file not in seen:
                seen.add(file)
                total += max(ENTRY_BYTES, found.st_blocks * _BLOCK_BYTES)
    except Hidden:
        return sys.maxsize
    return total


class Hidden(Exception):
    """Files may lie there that cannot be looked at."""


def _named(folders: tuple[str, ...]) -> Iterator[os.stat_result]:
    for folder in folders:
        for path in _below(folder) if os.path.isdir(folder) else (folder,):
            try:
                yield os.lstat(path)
            except OSError as failed:
                _is_honest(failed)


def _below(folder: str) -> Iterator[str]:
    yield f"{folder}/."  # a folder of many names is large itself
    open_ = [folder]  # os.walk of Python 3.11 calls itself for each, and may not as often as there are
    while open_:
        try:
            with os.scandir(open_.pop()) as entries:
                for entry in entries:
                    yield entry.path
                    if entry.is_dir(follow_symlinks=False):
                        open_.append(entry.path)
        except OSError as failed:
            _is_honest(failed)


def _is_honest(failed: OSError) -> None:
    """It may have gone meanwhile, or be others'. Raises Hidden for what lies so deep that no path reaches it, which
    takes some trouble to make, and for a folder that its owner has closed, as whom an ordinary user's kernel looks."""
    if failed.errno == errno.ENAMETOOLONG:
        raise Hidden from failed
    if failed.errno == errno.EACCES and _owner(failed.filename) == os.geteuid():
        raise Hidden from failed


def _owner(path: str) -> int:
    """Of what is there, or of the folder that does not let us see it."""
    while True:
        try:
            return os.lstat(path).st_uid
        except PermissionError:
            path = os.path.dirname(path)
        except OSError:  # it has gone
            return -1


def _nameless(pids: list[int]) -> Iterator[os.stat_result]:
    for pid in pids:
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    found = os.stat(f"/proc/{pid}/fd/{number}")
                    if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                        yield found

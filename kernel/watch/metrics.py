"""What the kernel counts and measures: an integer more for each call, a bucket for each generation."""

import os
from bisect import bisect_left
from collections import defaultdict
from typing import Final, final

from syscalls.calls import watch as abi
from syscalls.errors import Errno

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


@final
class Histogram:
    """Counts by upper bound."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """One more, or so many of the same."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def told(self) -> abi.Histogram:
        """As the ABI has it."""
        return abi.Histogram(bounds=self._bounds, counts=tuple(self._counts), sum=self._sum)


@final
class Metrics:
    """Counters since boot. `served` and `failed` are by the call's name: one addition on the path of every call."""

    def __init__(self) -> None:
        self.served: defaultdict[str, int] = defaultdict(int)
        self.failed: defaultdict[tuple[str, Errno], int] = defaultdict(int)
        self.queue = Histogram()
        self.ttft = Histogram()
        self.token = Histogram()
        self.generation = Histogram()

    def calls(self) -> dict[str, dict[str, int]]:
        """By name and outcome, those that were made."""
        told = {name: {"ok": count} for name, count in self.served.items()}
        for (name, errno), count in sorted(self.failed.items()):
            told.setdefault(name, {})[errno.name] = count
        return told


def memory_bytes() -> int:
    """What of this OS process is in memory."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0

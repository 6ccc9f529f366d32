"""Keys and values of sequences that have ended, kept in case a prompt begins as they did: agents send their growing
context again."""

from collections import OrderedDict
from typing import Any, final

import numpy as np

from drivers.causal.cache import Snapshot, snapshot_bytes

ENTRIES_MAX = 64
REUSE_MIN = 8


@final
class Prefixes:
    """The latest snapshots within a bound of bytes; the least recently used goes first."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._entries: OrderedDict[int, tuple[Any, Snapshot, int]] = OrderedDict()
        self._next = 0

    def wants(self, count: int, bytes_per_token: int) -> bool:
        """Whether a sequence of `count` tokens is worth a copy."""
        return count >= REUSE_MIN and count * bytes_per_token <= self._bytes_max // 2

    def add(self, ids: list[int], snapshot: Snapshot) -> None:
        """Keeps the snapshot of `ids`; entries that are a prefix of it go."""
        fresh = np.asarray(ids, dtype=np.int64)
        for key, (held, old, size) in tuple(self._entries.items()):
            shared = common(held, fresh)
            if shared == len(held):
                del self._entries[key]
                self._bytes -= size
            elif shared == len(fresh):
                self._entries.move_to_end(key)
                return
            del old
        size = snapshot_bytes(snapshot)
        self._entries[self._next] = (fresh, snapshot, size)
        self._next += 1
        self._bytes += size
        while self._bytes > self._bytes_max or len(self._entries) > ENTRIES_MAX:
            self._bytes -= self._entries.popitem(last=False)[1][2]

    def longest(self, prompt: Any) -> tuple[int, Snapshot | None]:
        """How many tokens of `prompt` (int64) the best snapshot shares with it, and that snapshot."""
        best, found = 0, None
        for key, (held, _, _) in self._entries.items():
            shared = common(held, prompt)
            if shared > best:
                best, found = shared, key
        if found is None:
            return 0, None
        self._entries.move_to_end(found)
        return best, self._entries[found][1]

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0


def common(a: Any, b: Any) -> int:
    """The length of the common prefix of two arrays."""
    count = min(len(a), len(b))
    differ = np.flatnonzero(a[:count] != b[:count])
    return int(differ[0]) if len(differ) else count

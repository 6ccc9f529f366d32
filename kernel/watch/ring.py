"""A bounded ring of numbered things that readers follow: who falls behind misses the oldest, and can tell."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar, final

import trio

T = TypeVar("T")


@final
class Ring(Generic[T]):
    """Numbers count from 1 and never twice."""

    def __init__(self, kept_max: int) -> None:
        self._kept: deque[T] = deque(maxlen=kept_max)
        self._news: trio.Event | None = None
        self.newest = 0

    @property
    def oldest(self) -> int:
        """The number of the oldest that is still there; one more than the newest where there is none."""
        return self.newest - len(self._kept) + 1

    def add(self, thing: T) -> None:
        """Takes the next one."""
        self._kept.append(thing)
        self.newest += 1
        news, self._news = self._news, None
        if news is not None:
            news.set()

    def since(self, seq: int) -> Iterator[tuple[int, T]]:
        """Those after number `seq` that are there now, oldest first, with their numbers."""
        first = max(seq + 1, self.oldest)
        return enumerate(tuple(islice(self._kept, first - self.oldest, None)), first)

    async def changed(self) -> None:
        """Waits for the next one."""
        if self._news is None:
            self._news = trio.Event()
        await self._news.wait()

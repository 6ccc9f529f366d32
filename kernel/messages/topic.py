"""Topics: whoever listens now is told; who listens slowly misses some and holds up nobody."""

from collections import deque
from typing import final

import trio
from msgspec import Raw

from syscalls.calls.message import News

NEWS_BYTES = 256
"""What a publication takes besides its body, about."""


@final
class Backlog:
    """What waits for one process, on all its subscriptions together."""

    __slots__ = ("listening", "waiting_bytes")

    def __init__(self) -> None:
        self.listening = 0
        self.waiting_bytes = 0


@final
class Subscription:
    """One listener: what waits for it, and how many publications it has missed since the last it took."""

    __slots__ = ("_backlog", "_bytes_max", "_max", "_missed", "_news", "_waiting")

    def __init__(self, queue_max: int, backlog: Backlog, bytes_max: int) -> None:
        self._max = queue_max
        self._backlog = backlog
        self._bytes_max = bytes_max
        self._waiting: deque[News] = deque()
        self._missed = 0
        self._news = trio.Event()

    def tell(self, sender: int, seq: int, body: Raw) -> None:
        """Something was published."""
        size = _size(body)
        while self._waiting and (
            len(self._waiting) == self._max or self._backlog.waiting_bytes + size > self._bytes_max
        ):
            self._missed += 1 + self._taken().missed
        if self._backlog.waiting_bytes + size > self._bytes_max:  # others of the same process wait for their reader
            self._missed += 1
            return
        self._backlog.waiting_bytes += size
        self._waiting.append(News(sender=sender, seq=seq, body=body, missed=self._missed))
        self._missed = 0
        self._news.set()

    async def next(self) -> News:
        """The oldest that waits; waits for one."""
        while not self._waiting:
            self._news = trio.Event()
            await self._news.wait()
        return self._taken()

    def clear(self) -> None:
        """Nobody takes what waits."""
        while self._waiting:
            self._taken()

    def _taken(self) -> News:
        news = self._waiting.popleft()
        self._backlog.waiting_bytes -= _size(news.body)
        return news


def _size(body: Raw) -> int:
    return NEWS_BYTES + memoryview(body).nbytes


@final
class Topics:
    """Who listens to what. A topic is there while somebody listens. For one process `bytes_max` wait at most, on
    whatever it listens to."""

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._listeners: dict[str, set[Subscription]] = {}
        self._backlogs: dict[int, Backlog] = {}
        self.published = 0

    def subscribe(self, topic: str, queue_max: int, pid: int) -> Subscription:
        """A listener of process `pid` to `topic`; give it back with `leave`."""
        backlog = self._backlogs.setdefault(pid, Backlog())
        backlog.listening += 1
        subscription = Subscription(queue_max, backlog, self._bytes_max)
        self._listeners.setdefault(topic, set()).add(subscription)
        return subscription

    def leave(self, topic: str, subscription: Subscription, pid: int) -> None:
        """It listens no longer."""
        listeners = self._listeners[topic]
        listeners.discard(subscription)
        if not listeners:
            del self._listeners[topic]
        subscription.clear()
        backlog = self._backlogs[pid]
        backlog.listening -= 1
        if not backlog.listening:
            del self._backlogs[pid]

    def publish(self, topic: str, sender: int, body: Raw) -> int:
        """Tells every listener; how many there were."""
        self.published += 1
        listeners = self._listeners.get(topic, ())
        for subscription in listeners:
            subscription.tell(sender, self.published, body)
        return len(listeners)

"""Topics: whoever listens now is told; who listens slowly misses some and holds up nobody."""

from collections import deque
from typing import final

import trio
from msgspec import Raw

from syscalls.calls.message import News


@final
class Subscription:
    """One listener: what waits for it, and how many publications it has missed since the last it took."""

    __slots__ = ("_max", "_missed", "_news", "_waiting")

    def __init__(self, queue_max: int) -> None:
        self._max = queue_max
        self._waiting: deque[News] = deque()
        self._missed = 0
        self._news = trio.Event()

    def tell(self, sender: int, seq: int, body: Raw) -> None:
        """Something was published."""
        if len(self._waiting) == self._max:
            self._missed += 1 + self._waiting.popleft().missed
        self._waiting.append(News(sender=sender, seq=seq, body=body, missed=self._missed))
        self._missed = 0
        self._news.set()

    async def next(self) -> News:
        """The oldest that waits; waits for one."""
        while not self._waiting:
            self._news = trio.Event()
            await self._news.wait()
        return self._waiting.popleft()


@final
class Topics:
    """Who listens to what. A topic is there while somebody listens."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Subscription]] = {}
        self.published = 0

    def subscribe(self, topic: str, queue_max: int) -> Subscription:
        """A listener to `topic`; give it back with `leave`."""
        subscription = Subscription(queue_max)
        self._listeners.setdefault(topic, set()).add(subscription)
        return subscription

    def leave(self, topic: str, subscription: Subscription) -> None:
        """It listens no longer."""
        listeners = self._listeners[topic]
        listeners.discard(subscription)
        if not listeners:
            del self._listeners[topic]

    def publish(self, topic: str, sender: int, body: Raw) -> int:
        """Tells every listener; how many there were."""
        self.published += 1
        listeners = self._listeners.get(topic, ())
        for subscription in listeners:
            subscription.tell(sender, self.published, body)
        return len(listeners)

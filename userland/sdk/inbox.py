"""Signals that reached a process and that it has not looked at yet."""

from collections import deque
from collections.abc import Callable
from typing import Self, final

from syscalls.link.loop import Flag

SIGNALS_MAX = 64


@final
class Inbox:
    """`async for name in inbox` waits for signals. Beyond `SIGNALS_MAX` unread the oldest is forgotten."""

    def __init__(self, make_flag: Callable[[], Flag]) -> None:
        self._make_flag = make_flag
        self._news = make_flag()
        self._names: deque[str] = deque(maxlen=SIGNALS_MAX)

    def put(self, name: str) -> None:
        """A signal has come."""
        self._names.append(name)
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._names:
            self._news = self._make_flag()
            await self._news.wait()
        return self._names.popleft()

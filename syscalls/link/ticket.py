"""A call made over an async link, in its caller's hands: the outcome awaited, or the items taken one by one."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, final

from msgspec import Raw

from syscalls.codec import parse_answer
from syscalls.link.loop import Flag
from syscalls.row import Row
from syscalls.wire import End, Error, Reply


class Asker(Protocol):
    """The link over which the call was made, as tickets and streams need it."""

    def cancel(self, call_id: int, reason: str) -> None: ...
    def abandon(self, call_id: int) -> None: ...
    async def outcome(self, call_id: int) -> Raw: ...
    async def next_item(self, call_id: int) -> Raw | None: ...


Answer = Reply | End | Error


@final
class Waiting:
    """A call of ours: what has come of it so far. Who waits for news makes the flag `woken`."""

    __slots__ = ("credit", "done", "items", "outcome", "sink", "taken", "woken")

    def __init__(self, credit: int, sink: Callable[[list[Raw]], None] | None) -> None:
        self.woken: Flag | None = None
        self.sink = sink
        self.items: deque[Raw] | None = None
        self.credit = credit
        self.taken = 0
        self.outcome: Answer | None = None
        self.done: Callable[[Answer], None] | None = None

    @property
    def owes(self) -> bool:
        """Whether so many items were taken that their credit is worth a frame."""
        return 4 * self.taken >= self.credit

    def wake(self) -> None:
        """There is news."""
        if self.woken is not None:
            self.woken.set()
        if self.done is not None and self.outcome is not None:
            done, self.done = self.done, None
            done(self.outcome)


@final
class Stream:
    """The items of one call, as they come; afterwards `result` is what the call returned."""

    def __init__(self, link: Asker, call_id: int, row: Row) -> None:
        self._link = link
        self._id = call_id
        self._row = row
        self._result: Any = None
        self._ended = False

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Any:
        if self._ended:
            raise StopAsyncIteration
        item = await self._link.next_item(self._id)
        if item is not None:
            return parse_answer(self._row.item, item, name=self._row.name)
        self._ended = True
        self._result = parse_answer(self._row.result, await self._link.outcome(self._id), name=self._row.name)
        raise StopAsyncIteration

    async def result(self) -> Any:
        """What the call returned; items that were not read are passed over. Raises its SyscallError."""
        async for _ in self:
            pass
        return self._result

    def close(self) -> None:
        """Gives up what was not read: the call is cancelled unless it has ended."""
        self._ended = True
        self._link.abandon(self._id)


@final
class Ticket:
    """A call that was made and is awaited elsewhere: it can be told to stop, and still gives its outcome."""

    def __init__(self, link: Asker, call_id: int, row: Row) -> None:
        self._link = link
        self._id = call_id
        self._row = row

    def cancel(self, reason: str) -> None:
        """Asks the other end to stop; its answer still comes."""
        self._link.cancel(self._id, reason)

    async def outcome(self) -> Any:
        """The typed result. Raises its SyscallError; abandoned when the waiter is cancelled."""
        try:
            raw = await self._link.outcome(self._id)
        except BaseException:
            self._link.abandon(self._id)
            raise
        return parse_answer(self._row.result, raw, name=self._row.name)

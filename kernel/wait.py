"""Small waits that several system calls need: the first of two events, and a checked timeout."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar, final

import trio

from syscalls.errors import Invalid

T = TypeVar("T")
_NO_LIMIT = nullcontext()


@final
class Bell:
    """Rings for whoever waits now, again and again. It costs next to nothing while nobody waits."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: trio.Event | None = None

    def ring(self) -> None:
        """Wakes those who wait."""
        event, self._event = self._event, None
        if event is not None:
            event.set()

    @property
    def next(self) -> trio.Event:
        """Set by the next ring from now on."""
        if self._event is None:
            self._event = trio.Event()
        return self._event

    async def wait(self) -> None:
        """Waits for the next ring."""
        await self.next.wait()


@final
class Once:
    """Something that happens once: an Event that is made when somebody waits."""

    __slots__ = ("_event", "_happened")

    def __init__(self) -> None:
        self._event: trio.Event | None = None
        self._happened = False

    def set(self) -> None:
        """It has happened."""
        self._happened = True
        if self._event is not None:
            self._event.set()

    def is_set(self) -> bool:
        """Whether it has."""
        return self._happened

    @property
    def event(self) -> trio.Event:
        """Set once it has happened."""
        if self._event is None:
            self._event = trio.Event()
            if self._happened:
                self._event.set()
        return self._event

    async def wait(self) -> None:
        """Waits until it has."""
        await self.event.wait()


async def first_of(*events: trio.Event) -> None:
    """Waits for any of them."""

    async def one(event: trio.Event, scope: trio.CancelScope) -> None:
        await event.wait()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(one, event, nursery.cancel_scope)


def within(timeout_s: float | None) -> AbstractContextManager[object]:
    """As trio.move_on_after, and nothing at all for None: many calls wait without a limit. Raises Invalid (EINVAL) for
    less than 0."""
    return _NO_LIMIT if timeout_s is None else trio.move_on_after(seconds(timeout_s))


def seconds(timeout_s: float | None) -> float:
    """A timeout argument as trio takes it; None waits for ever. Raises Invalid (EINVAL) for less than 0."""
    if timeout_s is None:
        return float("inf")
    if not timeout_s >= 0:
        raise Invalid(f"a timeout of {timeout_s} s: give 0 or more, or none to wait for ever")
    return timeout_s


async def slowly(things: Iterable[T], at_once: int = 4096) -> AsyncIterator[T]:
    """The same one by one; others have their turn after so many."""
    for count, thing in enumerate(things, 1):
        yield thing
        if count % at_once == 0:
            await trio.lowlevel.checkpoint()

"""The little that a link needs of an event loop, as trio and anyio both have it: so that there is one of everything
else."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, NamedTuple, Protocol


class Flag(Protocol):
    """trio.Event or anyio.Event."""

    def set(self) -> object: ...
    async def wait(self) -> object: ...


class Scope(Protocol):
    """trio's or anyio's cancel scope."""

    def cancel(self) -> object: ...


class Nursery(Protocol):
    """trio's nursery or anyio's task group."""

    @property
    def cancel_scope(self) -> Scope: ...
    def start_soon(self, function: Callable[..., Awaitable[Any]], /, *args: Any) -> object: ...


class MoveOnAfter(Protocol):
    """A cancel scope with a time limit in seconds."""

    def __call__(self, seconds: float, /, *, shield: bool = False) -> AbstractContextManager[Any]: ...


class Loop(NamedTuple):
    """trio or anyio."""

    make_flag: Callable[[], Flag]
    open_nursery: Callable[[], AbstractAsyncContextManager[Any]]
    move_on_after: MoveOnAfter
    wait_readable: Callable[[Any], Awaitable[None]]
    wait_writable: Callable[[Any], Awaitable[None]]
    notify_closing: Callable[[Any], None]
    checkpoint_if_cancelled: Callable[[], Awaitable[None]]
    checkpoint: Callable[[], Awaitable[None]]

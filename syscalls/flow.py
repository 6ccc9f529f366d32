"""The flow of a link: which calls are open at either end, what each has credit for, and what fits a frame."""

from collections import deque
from typing import final

from msgspec import Raw

from syscalls.wire import End, Error

ENVELOPE_BYTES = 160
"""More than the fixed fields of any frame take."""


@final
class Served:
    """A call that the other end made: the credit it gave, and the items that wait for more."""

    __slots__ = ("backlog", "cancelled", "credit", "last")

    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.backlog: deque[Raw] | None = None
        self.last: End | Error | None = None
        self.cancelled = False

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return len(self.backlog) if self.backlog else 0

    def add(self, items: list[Raw]) -> None:
        """More items, behind those that wait."""
        if self.backlog is None:
            self.backlog = deque(items)
        else:
            self.backlog.extend(items)

    def forget(self) -> None:
        """Nobody wants what waits any more."""
        self.backlog = None

    def batch(self, room: int) -> list[Raw]:
        """Takes the next items that credit allows and `room` bytes hold, at least one."""
        batch: list[Raw] = []
        assert self.backlog is not None
        while self.backlog and self.credit > 0:
            size = len(bytes(self.backlog[0]))
            if batch and size > room:
                break
            room -= size
            self.credit -= 1
            batch.append(self.backlog.popleft())
        return batch


def cut(text: str, bytes_max: int) -> str:
    """`text` in at most `bytes_max` bytes of UTF-8, whatever it holds."""
    return text.encode(errors="replace")[:bytes_max].decode(errors="ignore")

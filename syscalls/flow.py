"""The flow of a link: which calls are open at either end, what each has credit for, and what fits a frame."""

from collections import deque
from typing import final

from msgspec import Raw

from syscalls.wire import End, Error

ENVELOPE_BYTES = 160
"""More than the fixed fields of any frame take."""


@final
class Made:
    """A call that this end made and that is not answered yet."""

    __slots__ = ("credit",)

    def __init__(self, credit: int) -> None:
        self.credit = credit


@final
class Served:
    """A call that the other end made: the credit it gave, and the items that wait for more."""

    __slots__ = ("backlog", "cancelled", "credit", "last")

    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.backlog: deque[Raw] = deque()
        self.last: End | Error | None = None
        self.cancelled = False

    def batch(self, room: int) -> list[Raw]:
        """Takes the next items that credit allows and `room` bytes hold, at least one."""
        batch: list[Raw] = []
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

"""A program's door to the kernel: one link, one channel, and what must go out before each call."""

from collections.abc import Callable, Coroutine
from typing import Any, final

from syscalls.errors import NoSyscall
from syscalls.link.duplex import Duplex
from syscalls.link.ticket import Stream
from syscalls.row import Row
from syscalls.table import BY_NAME


@final
class Door:
    """Every handle of one process goes through the same door. `first` runs before each call: what was printed
    earlier leaves earlier."""

    def __init__(self, link: Duplex, channel: int, *, first: Callable[[], None] | None = None) -> None:
        self._link = link
        self._channel = channel
        self._first = first

    def call(self, row: Row, args: Any) -> Coroutine[Any, Any, Any]:
        """Makes the call and, awaited, waits for its typed result. Raises its SyscallError."""
        if self._first is not None:
            self._first()
        return self._link.call(row, args, channel=self._channel)

    def stream(self, row: Row, args: Any) -> Stream:
        """Makes the call; its items are read from what this returns, and `close` gives up the rest."""
        if self._first is not None:
            self._first()
        return self._link.open_stream(row, args, channel=self._channel)


def row_of(row: Row | str) -> Row:
    """The row of the table by its name. Raises NoSyscall (ENOSYS) for a name that is in no table."""
    if isinstance(row, Row):
        return row
    try:
        return BY_NAME[row]
    except KeyError:
        raise NoSyscall(f"there is no system call {row!r}; see 'kernos man'") from None

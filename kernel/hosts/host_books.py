"""What the hosts of a device did, by their own count, against what somebody was charged for: the kernel pays the rest.

A host counts its tokens in a page of memory that it shares with the kernel, so that the count outlives a SIGKILL. Most
of it is charged to whoever asked. What is left is the kernel's doing and goes to `kernel:overhead`: a prompt that is
read again because a host died, tokens that died in the host's buffers, and those that were made between a cancellation
and the driver's hearing of it. It is worked out whenever nothing is under way on the device.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

Counted = Callable[[], tuple[int, int]]
"""A host's own count so far: tokens read (prompts, and texts that were embedded or scored), and generated."""


@final
class HostBooks:
    """The books of one device over all its hosts. `pay(read, generated)` charges the kernel's overhead."""

    def __init__(self, pay: Callable[[int, int], None]) -> None:
        self._pay = pay
        self._count: Counted = _nothing
        self._before = (0, 0)
        self._under_way = 0
        self.read = 0
        self.generated = 0

    @property
    def done(self) -> tuple[int, int]:
        """What its hosts have done, those that died included: tokens read, and generated."""
        read, generated = self._count()
        return self._before[0] + read, self._before[1] + generated

    def take(self, counted: Counted) -> None:
        """A new host begins to count from nothing."""
        self._before = self.done
        self._count = counted

    @contextmanager
    def charging(self) -> Iterator["HostBooks"]:
        """Frames a call: inside, `read` and `generated` grow by what its caller is charged for."""
        self._under_way += 1
        try:
            yield self
        finally:
            self._under_way -= 1
            self.balance()

    def balance(self) -> None:
        """Charges what was done and nobody was charged for, unless somebody still may be."""
        if self._under_way:
            return
        read, generated = self.done
        read, generated = max(0, read - self.read), max(0, generated - self.generated)
        if read or generated:
            self.read += read
            self.generated += generated
            self._pay(read, generated)


def _nothing() -> tuple[int, int]:
    return 0, 0

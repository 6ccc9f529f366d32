"""The kernel's one clock: nobody else reads the time, so that a virtual one rules everything."""

from collections.abc import Callable
from typing import final

import trio


@final
class Clock:
    """Monotonic seconds of the running trio clock (real or mock), and the date.

    `wall` tells the date and may jump, as the system's does when it is set; without it the date goes on from
    `epoch_s` as the clock does. `ticks` is what the trio clock goes by, where that is known: every call asks for the
    time twice, and trio's own answer takes three times as long.
    """

    def __init__(
        self,
        wall: Callable[[], float] | None = None,
        *,
        ticks: Callable[[], float] | None = None,
        epoch_s: float = 0.0,
    ) -> None:
        self.ticks = ticks or trio.lowlevel.current_clock().current_time
        self._zero = self.ticks()
        self._wall = wall
        self._epoch_s = epoch_s

    def now(self) -> float:
        """Seconds since the kernel booted."""
        return self.ticks() - self._zero

    def at(self, ticks: float) -> float:
        """As `now`, of an earlier reading of `ticks`."""
        return ticks - self._zero

    def unix(self) -> float:
        """Seconds since 1970."""
        return self._epoch_s + self.now() if self._wall is None else self._wall()

    async def sleep(self, seconds: float) -> None:
        """Waits. Raises ValueError for a negative time."""
        await trio.sleep(seconds)

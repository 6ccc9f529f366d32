"""The kernel's one clock: nobody else reads the time, so that a virtual one rules everything."""

import time
from typing import final

import trio


@final
class Clock:
    """Monotonic seconds of the running trio clock (real or mock), and the date that they stand for."""

    def __init__(self) -> None:
        self._read = trio.lowlevel.current_clock().current_time
        self._zero = self._read()
        self._epoch_s = time.time()

    def now(self) -> float:
        """Seconds since the kernel booted."""
        return self._read() - self._zero

    def unix(self) -> float:
        """Seconds since 1970."""
        return self._epoch_s + self.now()

    async def sleep(self, seconds: float) -> None:
        """Waits. Raises ValueError for a negative time."""
        await trio.sleep(seconds)

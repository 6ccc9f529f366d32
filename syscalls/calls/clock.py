"""The time family, 0x70: the kernel's one clock."""

from typing import final

from syscalls.calls.process import Nothing
from syscalls.row import Args, Flag, Result, Row


@final
class Now(Args, frozen=True, kw_only=True):
    """No arguments."""


@final
class Time(Result, frozen=True, kw_only=True):
    """`monotonic_s` for differences, `unix_s` for dates."""

    monotonic_s: float
    unix_s: float


@final
class Sleep(Args, frozen=True, kw_only=True):
    """Seconds to sleep, at least 0."""

    seconds: float


NOW = Row(0x70, "time.now", Now, Time, None, Flag.INLINE | Flag.JOURNALED, "The time.")
SLEEP = Row(0x71, "time.sleep", Sleep, Nothing, None, Flag.JOURNALED, "Waits. EINVAL: a negative or infinite time.")

ROWS = (NOW, SLEEP)

"""The time family, 0x70: the kernel's one clock."""

from typing import final

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import Args, Flag, Result, Row, Says


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


NOW = Row(
    0x70,
    "time.now",
    Now,
    Time,
    None,
    Flag.INLINE | Flag.JOURNALED,
    "The time.",
)
SLEEP = Row(
    0x71,
    "time.sleep",
    Sleep,
    Nothing,
    None,
    Flag.JOURNALED,
    "Waits.",
    says=Says(
        waits="Waits for the time to pass, by the kernel's clock, STOP included.",
        cancelled="Nothing is left: the rest of the time is not slept.",
        errors=((Errno.EINVAL, "the time is negative, infinite or not a number."),),
    ),
)

ROWS = (NOW, SLEEP)

"""The time family, 0x70: the kernel's one clock, alarms, and timers by interval or calendar."""

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


@final
class Alarm(Args, frozen=True, kw_only=True):
    """When: `seconds` from now, or at the date `unix_s`. One of the two."""

    seconds: float | None = None
    unix_s: float | None = None


@final
class AlarmSet(Result, frozen=True, kw_only=True):
    """The number by which it can be cancelled, and the date at which it is due."""

    alarm: int
    due_unix_s: float


@final
class Timer(Args, frozen=True, kw_only=True):
    """Every `every_s` seconds, or by `calendar`: the five fields of cron(5), minute, hour, day of month, month, day of
    week, in the time of `zone` (a name of the tz database). It ends by itself after `count` ticks, if one is given."""

    every_s: float | None = None
    calendar: str | None = None
    zone: str = "UTC"
    count: int | None = None


@final
class Tick(Result, frozen=True, kw_only=True):
    """Tick `number`, from 1; the date it was due at; how many ticks before it were passed over because the reader was
    slow or the clock jumped."""

    number: int
    due_unix_s: float
    missed: int = 0


@final
class CancelAlarm(Args, frozen=True, kw_only=True):
    """Which alarm."""

    alarm: int


NOW = Row(0x70, "time.now", Now, Time, None, Flag.INLINE | Flag.JOURNALED, "The time.")
SLEEP = Row(
    0x71, "time.sleep", Sleep, Nothing, None, Flag.JOURNALED, "Waits.",
    says=Says(
        waits="For so long.",
        cancelled="Nothing is left of it.",
        errors=((Errno.EINVAL, "a negative or infinite time."),),
    ),
)  # fmt: skip
ALARM = Row(
    0x72, "time.alarm", Alarm, AlarmSet, None, Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Sets an alarm: the signal ALRM reaches the caller then, once. One at a date follows the system's clock when that "
    "is set anew.",
    says=Says(
        errors=(
            (Errno.EINVAL, "neither or both of seconds and unix_s, or a time that is no time."),
            (Errno.EAGAIN, "bounds.alarms_max alarms of the caller are set: cancel some."),
        ),
    ),
)  # fmt: skip
TIMER = Row(
    0x73, "time.timer", Timer, Nothing, None, Flag.STREAM | Flag.JOURNALED,
    "Ticks by interval or by calendar. A reader that is slow finds one tick that says how many it missed.", Tick,
    says=Says(
        waits="For the next tick, until count or until it is cancelled.",
        cancelled="Nothing is left of it.",
        errors=(
            (Errno.EINVAL, "neither or both of every_s and calendar, less than 0.01 s, or no such calendar or zone."),
        ),
    ),
)  # fmt: skip
CANCEL = Row(
    0x74, "time.cancel", CancelAlarm, Nothing, None, Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Cancels an alarm of the caller's.",
    says=Says(errors=((Errno.ENOENT, "no such alarm of the caller's: it rang, or never was."),)),
)  # fmt: skip

ROWS = (NOW, SLEEP, ALARM, TIMER, CANCEL)

"""When a timer ticks: by interval on the kernel's clock, or by the fields of cron(5) on dates of a zone."""

import math
import zoneinfo
from collections.abc import Iterator
from datetime import datetime

import trio.lowlevel
from cronsim import CronSim, CronSimError

from syscalls.errors import Invalid

EVERY_S_MIN = 0.01
CATCH_UP = 128
"""Ticks that are counted in one go; a date costs some 20 microseconds."""


def intervals(every_s: float, start_s: float) -> Iterator[float]:
    """Times of the clock, each `every_s` after the one before it. Raises Invalid (EINVAL)."""
    if not (math.isfinite(every_s) and every_s >= EVERY_S_MIN):
        raise Invalid(f"a tick every {every_s} s: give {EVERY_S_MIN} s or more")
    return (start_s + n * every_s for n in range(1, 1 << 62))


def dates(calendar: str, zone: str, start_unix_s: float) -> Iterator[float]:
    """Seconds since 1970 of each minute after the start that the calendar names, in the time of `zone`.

    Raises Invalid (EINVAL). Where the zone's clocks change it does as cron: a time that is left out comes right after,
    one that comes twice ticks once.
    """
    try:
        tz = zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"there is no time zone {zone!r}: give a name such as 'UTC' or 'Europe/Berlin'") from None
    try:
        return _dates(CronSim(calendar, datetime.fromtimestamp(start_unix_s, tz)))
    except CronSimError:
        raise Invalid(
            f"{calendar!r} is no calendar: give minute, hour, day of month, month and day of week, as in '30 9 * * 1-5'"
        ) from None


def _dates(moments: Iterator[datetime]) -> Iterator[float]:
    return (moment.timestamp() for moment in moments)


async def latest_due(due: Iterator[float], first: float, now_s: float) -> tuple[float, float | None, int]:
    """The last tick that is due, the one after it, and how many lie before it: days of them where nobody read, and
    others have their turns while they are counted."""
    latest, following, passed = first, next(due, None), 0
    while following is not None and following <= now_s:
        latest, following, passed = following, next(due, None), passed + 1
        if passed % CATCH_UP == 0:
            await trio.lowlevel.checkpoint()
    return latest, following, passed

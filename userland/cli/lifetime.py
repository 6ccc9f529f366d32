"""How long something is good: `90s`, `30m`, `12h`, `7d`, `never`, or a date."""

import datetime
import re
import time

from syscalls.errors import Invalid

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
SPAN_S_MAX = 100 * 365 * 86400


def until(text: str, *, now_s: float | None = None) -> float | None:
    """The end as seconds since 1970, None for `never`. Raises Invalid (EINVAL) with examples, and for the past."""
    now = time.time() if now_s is None else now_s
    if text == "never":
        return None
    end = _end(text, now)
    if not now < end <= now + SPAN_S_MAX:
        raise Invalid(f"{text!r} lies in the past, or too far ahead: give a time to come, as in 12h or 7d")
    return end


def _end(text: str, now: float) -> float:
    span = _SPAN.fullmatch(text)
    if span is not None:
        return now + float(span[1]) * _UNITS[span[2]]
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text!r} is no time: write 90s, 30m, 12h, 7d, never, or a date as 2027-01-31") from None
    return (moment if moment.tzinfo else moment.astimezone()).timestamp()


def shown(end_s: float | None) -> str:
    """A moment as people read it."""
    if end_s is None:
        return "never"
    return datetime.datetime.fromtimestamp(end_s).astimezone().strftime("%Y-%m-%d %H:%M")

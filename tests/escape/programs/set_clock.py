"""Sets the clock of the machine."""

import time
from typing import Any

REFUSED_BY = ("seccomp", "capabilities", "user")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    now = time.clock_gettime_ns(time.CLOCK_REALTIME)
    time.clock_settime_ns(time.CLOCK_REALTIME, now)
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

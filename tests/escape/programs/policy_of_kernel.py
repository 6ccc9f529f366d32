"""Asks how the kernel is scheduled."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "pid")


def attempt(stage: dict[str, Any]) -> object:
    return os.sched_getscheduler(stage["pid"])


def proof(stage: dict[str, Any]) -> object:
    return os.sched_getscheduler(0)

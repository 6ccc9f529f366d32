"""Asks for the kernel's nice value."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "pid")


def attempt(stage: dict[str, Any]) -> object:
    return os.getpriority(os.PRIO_PROCESS, stage["pid"])


def proof(stage: dict[str, Any]) -> object:
    return os.getpriority(os.PRIO_PROCESS, 0)

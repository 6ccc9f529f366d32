"""Asks on which processors the kernel runs."""

import os
from typing import Any

REFUSED_BY = ("pid",)


def attempt(stage: dict[str, Any]) -> object:
    return sorted(os.sched_getaffinity(stage["pid"]))


def proof(stage: dict[str, Any]) -> object:
    return sorted(os.sched_getaffinity(0))

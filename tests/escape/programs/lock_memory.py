"""Keeps memory from being swapped."""

import mmap
from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp", "limits")


def attempt(stage: dict[str, Any]) -> object:
    raw("mlockall", 2)
    held = mmap.mmap(-1, 4 << 20)
    return len(held)


def proof(stage: dict[str, Any]) -> object:
    return 4 << 20

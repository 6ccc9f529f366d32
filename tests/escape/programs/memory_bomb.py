"""Takes more memory than it was given."""

import mmap
from typing import Any

REFUSED_BY = ("limits",)


def attempt(stage: dict[str, Any]) -> object:
    held = mmap.mmap(-1, 2 << 30)
    return len(held)


def proof(stage: dict[str, Any]) -> object:
    return 2 << 30

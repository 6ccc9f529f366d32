"""Asks for the kernel's process group."""

import os
from typing import Any

REFUSED_BY = ("pid",)


def attempt(stage: dict[str, Any]) -> object:
    return os.getpgid(stage["pid"])


def proof(stage: dict[str, Any]) -> object:
    return os.getpgid(0)

"""Asks for the kernel's session."""

import os
from typing import Any

REFUSED_BY = ("pid",)


def attempt(stage: dict[str, Any]) -> object:
    return os.getsid(stage["pid"])


def proof(stage: dict[str, Any]) -> object:
    return os.getsid(0)

"""Changes its root."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "capabilities")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    os.chroot(stage["inside"])
    return "open" in os.listdir("/")


def proof(stage: dict[str, Any]) -> object:
    return True

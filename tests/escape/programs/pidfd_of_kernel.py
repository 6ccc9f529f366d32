"""Takes a handle on the kernel that outlives its pid."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "pid")


def attempt(stage: dict[str, Any]) -> object:
    return os.pidfd_open(stage["pid"]) > 2


def proof(stage: dict[str, Any]) -> object:
    return True

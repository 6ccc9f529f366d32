"""Sends the kernel a signal."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "pid", "landlock", "uid")


def attempt(stage: dict[str, Any]) -> object:
    os.kill(stage["pid"], 0)
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

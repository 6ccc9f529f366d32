"""Locks a file that others use."""

import fcntl
import os
from typing import Any

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    fd = os.open(stage["inside"] + "/open", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

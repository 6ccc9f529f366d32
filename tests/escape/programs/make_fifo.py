"""Leaves a pipe in what it was given to read."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    os.mkfifo(stage["inside"] + "/fifo")
    return os.path.exists(stage["inside"] + "/fifo")


def proof(stage: dict[str, Any]) -> object:
    return True

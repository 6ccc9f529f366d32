"""Learns the pid of the kernel."""

import os
from typing import Any

REFUSED_BY = ("pid",)


def attempt(stage: dict[str, Any]) -> object:
    return os.getppid()


def proof(stage: dict[str, Any]) -> object:
    return os.getpid()

"""Sends a signal to everybody it can reach; the namespace leaves nobody else to reach."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "pid")


def attempt(stage: dict[str, Any]) -> object:
    os.kill(-1, 0)
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

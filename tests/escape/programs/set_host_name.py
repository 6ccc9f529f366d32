"""Renames the machine."""

import socket
from typing import Any

REFUSED_BY = ("seccomp", "capabilities")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    socket.sethostname(socket.gethostname())
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

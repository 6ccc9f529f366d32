"""Reads the log of the machine's kernel."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp", "capabilities", "user")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    return raw("syslog", 3, bytearray(4096), 4096) > 0


def proof(stage: dict[str, Any]) -> object:
    return True

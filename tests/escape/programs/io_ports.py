"""Takes the ports of the hardware."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp", "capabilities", "user")


def attempt(stage: dict[str, Any]) -> object:
    raw("ioperm", 0x80, 1, 1)
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

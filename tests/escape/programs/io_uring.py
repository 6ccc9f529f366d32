"""Sets up io_uring, which does other calls without their being filtered."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp", "limits")


def attempt(stage: dict[str, Any]) -> object:
    return raw("io_uring_setup", 4, bytes(120)) > 2


def proof(stage: dict[str, Any]) -> object:
    return True

"""Opens a file system of its own by the new mount calls."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp", "capabilities")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    return raw("fsopen", b"tmpfs", 0) > 2


def proof(stage: dict[str, Any]) -> object:
    return True

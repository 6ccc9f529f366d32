"""Copies a mount, to attach it elsewhere."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp", "capabilities")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    return raw("open_tree", -100, stage["inside"].encode(), 1) > 2


def proof(stage: dict[str, Any]) -> object:
    return True

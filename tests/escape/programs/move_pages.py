"""Asks where memory lies."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    raw("move_pages", 0, 0, 0, 0, 0, 0)
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

"""Handles page faults itself, to win races in the system."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    return raw("userfaultfd", 1) > 2


def proof(stage: dict[str, Any]) -> object:
    return True

"""Enters the system by the old door, whose numbers mean other calls."""

from typing import Any

from tests.escape.raw import enter_i386

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    return enter_i386()


def proof(stage: dict[str, Any]) -> object:
    return None

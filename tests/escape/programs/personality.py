"""Switches address randomisation off for what it runs next."""

from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    raw("personality", 0x0040000)
    return raw("personality", 0xFFFFFFFF) & 0x0040000 != 0


def proof(stage: dict[str, Any]) -> object:
    return True

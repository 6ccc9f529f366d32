"""Asks for core files, which would carry what it saw to the disk."""

import resource
from typing import Any

REFUSED_BY = ("limits",)


def attempt(stage: dict[str, Any]) -> object:
    return resource.getrlimit(resource.RLIMIT_CORE)[1] != 0


def proof(stage: dict[str, Any]) -> object:
    return True

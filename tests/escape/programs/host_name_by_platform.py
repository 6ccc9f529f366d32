"""Learns the host's name as libraries do."""

import platform
from typing import Any

REFUSED_BY = ("uts",)


def attempt(stage: dict[str, Any]) -> object:
    return platform.node()


def proof(stage: dict[str, Any]) -> object:
    return platform.node()

"""Reads the name of the host."""

import os
from typing import Any

REFUSED_BY = ("uts",)


def attempt(stage: dict[str, Any]) -> object:
    return os.uname().nodename


def proof(stage: dict[str, Any]) -> object:
    return os.uname().nodename

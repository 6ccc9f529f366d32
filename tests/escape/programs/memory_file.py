"""Makes a file in memory that could be handed on or run."""

import os
from typing import Any

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    return os.memfd_create("x") > 2


def proof(stage: dict[str, Any]) -> object:
    return True

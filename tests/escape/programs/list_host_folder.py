"""Lists a folder of the host."""

import os
from typing import Any

REFUSED_BY = ("root",)


def attempt(stage: dict[str, Any]) -> object:
    return sorted(os.listdir(stage["outside"]))


def proof(stage: dict[str, Any]) -> object:
    return sorted(os.listdir(stage["outside"]))

"""Makes a folder of the host its own; Landlock does not cover it."""

import os
from typing import Any

REFUSED_BY = ("root",)


def attempt(stage: dict[str, Any]) -> object:
    os.chdir(stage["outside"])
    return os.getcwd()


def proof(stage: dict[str, Any]) -> object:
    return stage["outside"]

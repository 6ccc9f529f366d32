"""Renames a file that it was given to read."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    os.rename(stage["inside"] + "/move", stage["inside"] + "/moved")
    return os.path.exists(stage["inside"] + "/moved")


def proof(stage: dict[str, Any]) -> object:
    return True

"""Removes a file that it was given to read."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    os.unlink(stage["inside"] + "/spare")
    return not os.path.exists(stage["inside"] + "/spare")


def proof(stage: dict[str, Any]) -> object:
    return True

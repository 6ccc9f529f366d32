"""Empties a file that it was given to read."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    os.truncate(stage["inside"] + "/open", 0)
    return os.stat(stage["inside"] + "/open").st_size


def proof(stage: dict[str, Any]) -> object:
    return 0

"""Makes a folder in what it was given to read."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    os.mkdir(stage["inside"] + "/folder")
    return os.path.isdir(stage["inside"] + "/folder")


def proof(stage: dict[str, Any]) -> object:
    return True

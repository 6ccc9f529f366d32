"""Gives a file a second name."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    os.link(stage["inside"] + "/open", stage["inside"] + "/second")
    return os.path.exists(stage["inside"] + "/second")


def proof(stage: dict[str, Any]) -> object:
    return True

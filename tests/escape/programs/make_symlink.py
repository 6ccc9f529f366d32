"""Leaves a link in what it was given to read, for others to follow."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    os.symlink("/etc", stage["inside"] + "/trap")
    return os.readlink(stage["inside"] + "/trap")


def proof(stage: dict[str, Any]) -> object:
    return "/etc"

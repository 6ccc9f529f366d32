"""Changes the times of a file; Landlock does not cover it."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root")


def attempt(stage: dict[str, Any]) -> object:
    os.utime(stage["inside"] + "/open")
    return os.stat(stage["inside"] + "/open").st_mtime > 10**9


def proof(stage: dict[str, Any]) -> object:
    return True

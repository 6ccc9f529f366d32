"""Reads a file through the working directory that /proc shows."""

import os
from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    os.chdir(stage["inside"])
    with open("/proc/self/cwd/../../.." + stage["secret"]) as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

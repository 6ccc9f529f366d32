"""Reads who has an account on the host."""

from pathlib import Path
from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    with open("/etc/passwd") as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return Path("/etc/passwd").read_text()

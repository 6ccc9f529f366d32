"""Reads what names the machine."""

from pathlib import Path
from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    with open("/etc/hostname") as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return Path("/etc/hostname").read_text()

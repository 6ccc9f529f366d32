"""Reads the command line of the kernel's process."""

from pathlib import Path
from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    with open(f"/proc/{stage['pid']}/cmdline") as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return Path("/proc/self/cmdline").read_text()

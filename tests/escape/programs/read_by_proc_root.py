"""Reads a file of the host through a process's root in /proc."""

from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    with open("/proc/self/root" + stage["secret"]) as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

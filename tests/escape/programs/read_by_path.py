"""Reads a file of the host by its path."""

from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    with open(stage["secret"]) as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

"""Reads a link, inside what it was given, that points outside."""

from typing import Any


def attempt(stage: dict[str, Any]) -> object:
    with open(stage["inside"] + "/link") as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

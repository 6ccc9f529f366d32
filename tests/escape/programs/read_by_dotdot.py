"""Reads a file beside a folder it was given, by `..`."""

from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    with open(stage["inside"] + "/../outside/secret") as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

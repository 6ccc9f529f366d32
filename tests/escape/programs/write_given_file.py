"""Writes to a file that it was given to read."""

from typing import Any

REFUSED_BY = ("root", "landlock", "limits")


def attempt(stage: dict[str, Any]) -> object:
    with open(stage["inside"] + "/open", "w") as file:
        file.write(stage["nonce"])
    with open(stage["inside"] + "/open") as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

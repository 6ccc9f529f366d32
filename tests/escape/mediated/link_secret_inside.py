"""Gives the secret a name inside what it was given, and reads it by that."""

import os
from typing import Any


def attempt(stage: dict[str, Any]) -> object:
    os.link(stage["secret"], stage["inside"] + "/made")
    with open(stage["inside"] + "/made") as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

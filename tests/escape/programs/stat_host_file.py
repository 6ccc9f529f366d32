"""Asks for the size of a file of the host; Landlock does not cover it."""

import os
from typing import Any

REFUSED_BY = ("root",)


def attempt(stage: dict[str, Any]) -> object:
    return os.stat(stage["secret"]).st_size


def proof(stage: dict[str, Any]) -> object:
    return len(stage["nonce"])

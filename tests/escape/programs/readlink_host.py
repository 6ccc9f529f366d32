"""Reads where a link of the host points; Landlock does not cover it."""

import os
from typing import Any

REFUSED_BY = ("root",)


def attempt(stage: dict[str, Any]) -> object:
    return os.readlink(stage["outside"] + "/pointer")


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

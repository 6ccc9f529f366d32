"""Writes an attribute of a file; Landlock does not cover it."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root")


def attempt(stage: dict[str, Any]) -> object:
    os.setxattr(stage["inside"] + "/open", "user.kernos", stage["nonce"].encode())
    return os.getxattr(stage["inside"] + "/open", "user.kernos").decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

"""Reads another process's memory."""

from typing import Any

from tests.escape.raw import read_memory

REFUSED_BY = ("seccomp", "pid", "landlock", "uid")


def attempt(stage: dict[str, Any]) -> object:
    return read_memory(stage["victim"], stage["address"], len(stage["nonce"])).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

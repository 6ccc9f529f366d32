"""Runs a program that lies in what it was given to read."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writing, 1)
            os.execv(stage["inside"] + "/tool", ["tool", "-n", stage["nonce"]])
        finally:
            os._exit(127)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        told = file.read()
    assert told, "it did not run"
    return told


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

"""Runs a program from memory."""

import os
from typing import Any

REFUSED_BY = ("seccomp", "root", "landlock", "limits")


def attempt(stage: dict[str, Any]) -> object:
    fd = os.memfd_create("x", 0)
    with open(stage["inside"] + "/tool", "rb") as tool:
        os.write(fd, tool.read())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(writing, 1)
            os.execve(fd, ["tool", "-n", stage["nonce"]], {})
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

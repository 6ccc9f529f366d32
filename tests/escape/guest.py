"""Runs one hostile program: in a jail (`main`) or as a plain process (`python -m tests.escape.guest`)."""

import importlib
import json
import os
import socket
import sys
from typing import Any


def attempt(name: str, stage: dict[str, Any], package: str = "programs") -> dict[str, Any]:
    """{"value": …} if it went through, else {"refused": why}."""
    try:
        return {"value": importlib.import_module(f"tests.escape.{package}.{name}").attempt(stage)}
    except BaseException as refused:
        return {"refused": f"{type(refused).__name__}: {refused}"}


def main(sock_fd: int, payload: bytes) -> int:
    """One program; one line of JSON."""
    told = json.loads(payload)
    package = told.get("package", "programs")
    importlib.import_module(f"tests.escape.{package}.{told['name']}")
    answer = attempt(told["name"], told["stage"], package)
    with socket.socket(fileno=sock_fd) as sock:
        sock.sendall(json.dumps(answer).encode() + b"\n")
    return 0


if __name__ == "__main__":
    print(json.dumps(attempt(sys.argv[1], json.loads(sys.argv[2]), *sys.argv[3:])), flush=True)
    os._exit(0)

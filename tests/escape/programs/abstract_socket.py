"""Connects to a socket of the host that has a name but no file."""

import socket
from typing import Any

REFUSED_BY = ("seccomp", "net", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0" + stage["abstract"])
        return sock.recv(100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

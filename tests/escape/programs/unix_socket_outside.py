"""Connects to a socket by a path of the host; Landlock does not cover it."""

import socket
from typing import Any

REFUSED_BY = ("seccomp", "root")


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(stage["outside"] + "/sock")
        return sock.recv(100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

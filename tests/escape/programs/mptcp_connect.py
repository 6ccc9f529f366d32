"""Connects by multipath TCP, which the port rules of Landlock do not cover."""

import socket
from typing import Any

REFUSED_BY = ("seccomp", "net")


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", stage["tcp"]))
        return sock.recv(100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

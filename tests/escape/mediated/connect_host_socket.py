"""Connects to a socket of the host by its path."""

import socket
from typing import Any


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(stage["outside"] + "/sock")
        return sock.recv(100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

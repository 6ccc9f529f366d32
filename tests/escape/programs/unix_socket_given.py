"""Connects to a socket that lies in a folder it was given to read; only the filter stops it."""

import socket
from typing import Any

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(stage["inside"] + "/sock")
        return sock.recv(100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

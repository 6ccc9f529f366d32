"""Asks a service by datagrams; Landlock does not cover it."""

import socket
from typing import Any

REFUSED_BY = ("seccomp", "net")


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(b"?", ("127.0.0.1", stage["udp"]))
        return sock.recv(100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

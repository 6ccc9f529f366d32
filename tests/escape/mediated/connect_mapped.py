"""Connects to a port that it was not given, by the IPv6 spelling of an IPv4 address."""

import socket
from typing import Any


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(socket.AF_INET6) as sock:
        sock.settimeout(5)
        sock.connect(("::ffff:127.0.0.1", stage["tcp"]))
        return sock.recv(100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

"""Opens a packet socket, to listen to the wire."""

import socket
from typing import Any

REFUSED_BY = ("seccomp", "capabilities")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        return sock.family == socket.AF_PACKET


def proof(stage: dict[str, Any]) -> object:
    return True

"""Opens a raw socket, to forge packets."""

import socket
from typing import Any

REFUSED_BY = ("seccomp", "capabilities")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 1) as sock:
        return sock.proto


def proof(stage: dict[str, Any]) -> object:
    return 1

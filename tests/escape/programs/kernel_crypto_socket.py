"""Opens a socket to the kernel's own cryptography, a large old surface."""

import socket
from typing import Any

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(38, socket.SOCK_SEQPACKET) as sock:
        return int(sock.family)


def proof(stage: dict[str, Any]) -> object:
    return 38

"""Opens a socket to the hypervisor."""

import socket
from typing import Any

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    with socket.socket(40, socket.SOCK_STREAM) as sock:
        return int(sock.family)


def proof(stage: dict[str, Any]) -> object:
    return 40

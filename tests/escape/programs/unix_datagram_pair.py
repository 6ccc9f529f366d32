"""Makes a pair of datagram sockets, which could be turned on any socket of the host."""

import socket
from typing import Any

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.send(b"x")
    return right.recv(1).decode()


def proof(stage: dict[str, Any]) -> object:
    return "x"

"""Reads the host's network interfaces."""

import socket
from typing import Any

REFUSED_BY = ("seccomp", "net")


def attempt(stage: dict[str, Any]) -> object:
    return sorted(name for _, name in socket.if_nameindex())


def proof(stage: dict[str, Any]) -> object:
    return sorted(name for _, name in socket.if_nameindex())

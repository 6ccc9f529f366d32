"""Asks the C library for the host's name."""

import socket
from typing import Any

REFUSED_BY = ("uts",)


def attempt(stage: dict[str, Any]) -> object:
    return socket.gethostname()


def proof(stage: dict[str, Any]) -> object:
    return socket.gethostname()

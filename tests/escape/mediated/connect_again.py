"""Ends a connection that it was given without closing the socket, and connects that to a port that it was not given."""

import ctypes
import socket
import struct
from typing import Any

from tests.escape.raw import libc


def attempt(stage: dict[str, Any]) -> object:
    with socket.create_connection(("127.0.0.1", stage["tcp_given"]), timeout=None) as sock:
        if libc.connect(sock.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16) != 0:
            raise OSError(ctypes.get_errno(), "connect")
        sock.connect(("127.0.0.1", stage["tcp"]))
        return sock.recv(100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

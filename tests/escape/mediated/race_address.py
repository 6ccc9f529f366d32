"""Changes the address while it is being judged: another thread writes a port over it that was not given, and back."""

import ctypes
import socket
import struct
import threading
import time
from typing import Any

from tests.escape.raw import libc

LASTS_S = 1.5


def address(port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, bytes((127, 0, 0, 1)))


def attempt(stage: dict[str, Any]) -> object:
    given, other = address(stage["tcp_given"]), address(stage["tcp"])
    written = ctypes.create_string_buffer(given, len(given))
    over = threading.Event()

    def flip() -> None:
        while not over.is_set():
            libc.memcpy(written, given, len(given))
            libc.memcpy(written, other, len(other))

    flipping = threading.Thread(target=flip)
    flipping.start()
    try:
        until = time.monotonic() + LASTS_S
        while time.monotonic() < until:
            with socket.socket() as sock:
                if libc.connect(sock.fileno(), written, len(given)) == 0 and sock.recv(100).decode() == stage["nonce"]:
                    return stage["nonce"]
        raise PermissionError("it was never the other port")
    finally:
        over.set()
        flipping.join()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

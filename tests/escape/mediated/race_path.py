"""Changes the path while it is being judged: another thread writes the secret's over it, and back."""

import ctypes
import os
import threading
import time
from typing import Any

from tests.escape.raw import libc

LASTS_S = 1.5


def attempt(stage: dict[str, Any]) -> object:
    given, secret = os.fsencode(stage["inside"] + "/open"), os.fsencode(stage["secret"])
    size = max(len(given), len(secret)) + 1
    path = ctypes.create_string_buffer(size)
    over = threading.Event()

    def flip() -> None:
        one, other = given.ljust(size, b"\0"), secret.ljust(size, b"\0")
        while not over.is_set():
            libc.memcpy(path, one, size)
            libc.memcpy(path, other, size)

    flipping = threading.Thread(target=flip)
    flipping.start()
    try:
        return look(path, stage["nonce"])
    finally:
        over.set()
        flipping.join()


def look(path: "ctypes.Array[ctypes.c_char]", nonce: str) -> object:
    until = time.monotonic() + LASTS_S
    while time.monotonic() < until:
        fd = libc.open(path, os.O_RDONLY)
        if fd >= 0:
            read = os.read(fd, 100).decode()
            os.close(fd)
            if read == nonce:
                return read
    raise PermissionError("it was never the secret")


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

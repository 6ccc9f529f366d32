"""Puts a link that points outside in the place of a file while that is being opened."""

import os
import threading
import time
from typing import Any

LASTS_S = 1.5


def attempt(stage: dict[str, Any]) -> object:
    inside = stage["inside"]
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            os.rename(f"{inside}/open", f"{inside}/made")
            os.rename(f"{inside}/link", f"{inside}/open")
            os.rename(f"{inside}/open", f"{inside}/link")
            os.rename(f"{inside}/made", f"{inside}/open")

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        until = time.monotonic() + LASTS_S
        while time.monotonic() < until:
            try:
                with open(f"{inside}/open") as file:
                    read = file.read()
            except OSError:
                continue
            if read == stage["nonce"]:
                return read
        raise PermissionError("it was never the secret")
    finally:
        over.set()
        swapping.join()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

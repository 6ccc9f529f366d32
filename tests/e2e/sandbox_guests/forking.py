"""A guest that is two: it forks, and neither ends by itself. Says the letter f when both are there."""

from __future__ import annotations

import os
import time


def main(sock_fd: int, payload: bytes) -> int:
    if os.fork():
        os.write(sock_fd, b"f")
    while True:
        time.sleep(60)

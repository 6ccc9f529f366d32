"""What runs in the workers of `bench.sandbox.mediated`."""

import json
import os
import socket
import time
from statistics import median
from typing import Any

CALLS = 1_000
ROUNDS = 300
WALKS = 300
OPENS = 4000


def main(sock_fd: int, payload: bytes) -> int:
    """One measurement; one line of JSON."""
    asked: dict[str, Any] = json.loads(payload)
    told = _open(asked["path"]) if asked["what"] == "open" else {"call_ns": _spin(), "walk_us": _walk(asked["folder"])}
    with socket.socket(fileno=sock_fd) as sock:
        sock.sendall(json.dumps(told).encode() + b"\n")
    return 0


def _walk(folder: str) -> float:
    """Microseconds to read a folder of small files: the best of many short rounds, of which some are not interrupted
    however busy the machine is."""
    best = 1e9
    for _ in range(WALKS):
        began = time.perf_counter()
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            if os.path.isfile(path):
                fd = os.open(path, os.O_RDONLY)
                os.fstat(fd)
                while os.read(fd, 4096):
                    pass
                os.close(fd)
        best = min(best, time.perf_counter() - began)
    return best * 1e6


def _spin() -> float:
    """Nanoseconds for a call that does next to nothing; the best, as above."""
    reading, writing = os.pipe()
    best = 1e9
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            os.write(writing, b"x")
            os.read(reading, 1)
        best = min(best, time.perf_counter() - began)
    return best * 1e9 / (2 * CALLS)


def _open(path: str) -> dict[str, float]:
    """Microseconds until a file is open."""
    took = []
    for _ in range(OPENS):
        began = time.perf_counter_ns()
        fd = os.open(path, os.O_RDONLY)
        took.append(time.perf_counter_ns() - began)
        os.close(fd)
    return {"us": median(took) / 1000}

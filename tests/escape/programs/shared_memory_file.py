"""Makes a file in shared memory, that others could read."""

import os
from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    path = "/dev/shm/kernos-" + stage["nonce"]
    os.close(os.open(path, os.O_CREAT | os.O_RDWR))
    return stage["nonce"] in str(os.listdir("/dev/shm"))


def proof(stage: dict[str, Any]) -> object:
    return True

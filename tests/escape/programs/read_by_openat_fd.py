"""Opens the root as a directory and goes down from its descriptor."""

import os
from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    fd = os.open(stage["secret"].lstrip("/"), os.O_RDONLY, dir_fd=top)
    return os.read(fd, 100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

"""Opens from the descriptor of a folder that it was given, upwards."""

import os
from typing import Any


def attempt(stage: dict[str, Any]) -> object:
    folder = os.open(stage["inside"], os.O_RDONLY | os.O_DIRECTORY)
    fd = os.open("../outside/secret", os.O_RDONLY, dir_fd=folder)
    return os.read(fd, 100).decode()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

"""Makes a folder that it was given its own, and opens from there, upwards."""

import os
from typing import Any


def attempt(stage: dict[str, Any]) -> object:
    folder = os.open(stage["inside"], os.O_RDONLY | os.O_DIRECTORY)
    os.fchdir(folder)
    with open("../outside/secret") as file:
        return file.read()


def proof(stage: dict[str, Any]) -> object:
    return stage["nonce"]

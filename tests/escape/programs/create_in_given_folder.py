"""Makes a file in a folder that it was given to read."""

import os
from typing import Any

REFUSED_BY = ("root", "landlock")


def attempt(stage: dict[str, Any]) -> object:
    os.close(os.open(stage["inside"] + "/made", os.O_CREAT | os.O_WRONLY))
    return os.listdir(stage["inside"]).count("made")


def proof(stage: dict[str, Any]) -> object:
    return 1

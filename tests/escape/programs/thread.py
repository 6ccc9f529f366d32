"""Starts a thread, in the tier that has none."""

import threading
from typing import Any

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(7))
    thread.start()
    thread.join()
    return seen[0]


def proof(stage: dict[str, Any]) -> object:
    return 7

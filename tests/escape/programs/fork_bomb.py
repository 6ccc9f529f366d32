"""Makes processes until the host has no more."""

import os
import time
from typing import Any

REFUSED_BY = ("seccomp", "limits")


def attempt(stage: dict[str, Any]) -> object:
    children = []
    try:
        for _ in range(100):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
    return len(children)


def proof(stage: dict[str, Any]) -> object:
    return 100

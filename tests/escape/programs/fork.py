"""Makes a process beside itself."""

import os
from typing import Any

REFUSED_BY = ("seccomp",)


def attempt(stage: dict[str, Any]) -> object:
    child = os.fork()
    if child == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def proof(stage: dict[str, Any]) -> object:
    return 7

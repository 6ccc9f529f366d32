"""Raises a limit again that was lowered."""

import resource
from typing import Any

REFUSED_BY = ("seccomp", "user")


def attempt(stage: dict[str, Any]) -> object:
    endless = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (endless, endless))
    return resource.getrlimit(resource.RLIMIT_MSGQUEUE)[1] == endless


def proof(stage: dict[str, Any]) -> object:
    return True

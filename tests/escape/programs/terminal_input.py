"""Types into the terminal of whoever looks on."""

import fcntl
import os
from typing import Any

REFUSED_BY = ("seccomp", "user")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    _, replica = os.openpty()
    fcntl.ioctl(replica, 0x5412, b"x")
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

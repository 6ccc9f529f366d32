"""Joins the kernel's network namespace."""

import os
from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp", "root", "pid", "capabilities", "uid")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    fd = os.open(f"/proc/{stage['pid']}/ns/net", os.O_RDONLY)
    raw("setns", fd, 0)
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

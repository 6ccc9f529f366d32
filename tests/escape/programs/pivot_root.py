"""Puts another root in the place of its own."""

import os
from typing import Any

from tests.escape.raw import libc, raw

REFUSED_BY = ("seccomp", "capabilities", "landlock")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    raw("unshare", 0x00020000)
    assert libc.mount(None, b"/", None, 1 << 18 | 16384, None) == 0, "refused"
    assert libc.mount(stage["inside"].encode(), stage["inside"].encode(), None, 4096, None) == 0, "refused"
    os.chdir(stage["inside"])
    raw("pivot_root", b".", b".")
    return True


def proof(stage: dict[str, Any]) -> object:
    return True

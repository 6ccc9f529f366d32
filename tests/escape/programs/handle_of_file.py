"""Takes a handle on a file that opens it by number, past every path."""

import os
from typing import Any

from tests.escape.raw import raw

REFUSED_BY = ("seccomp", "capabilities", "root", "user")
NEEDS_ROOT = True


def attempt(stage: dict[str, Any]) -> object:
    handle = bytearray((128).to_bytes(4, "little") + bytes(132))
    mount_id = bytearray(4)
    raw("name_to_handle_at", -100, b"/", handle, mount_id, 0)
    fd = raw("open_by_handle_at", os.open("/", os.O_RDONLY), bytes(handle), os.O_RDONLY)
    return fd > 2


def proof(stage: dict[str, Any]) -> object:
    return True

"""What runs in a jail, seen from outside: its first process and all below it."""

import contextlib
import os
from pathlib import Path


def below(pid: int, most: int) -> list[int]:
    """A process and all below it, parents first, `most` of them. One that died has had its place taken by nobody:
    whoever is its parent reaps it."""
    found: list[int] = []
    open_ = [pid]
    while open_ and len(found) < most:
        found.append(open_.pop())
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{found[-1]}/task"):
                children = Path(f"/proc/{found[-1]}/task/{thread}/children").read_text()
                open_ += [int(child) for child in children.split()]
    return found

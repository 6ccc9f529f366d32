"""Runs pytest as a user without any privilege (`python as_nobody.py PYTEST_ARGUMENTS...`): as nobody where it is
started by root, else as whoever starts it.

The interpreter or the repository may lie in a private folder of root's. In a mount namespace of its own, such a
folder is covered by an open one that shows only the part that is needed.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from sandbox import libc

REPOSITORY = Path(__file__).resolve().parents[3]
NOBODY = 54321
CLONE_NEWNS = 0x00020000


def make_reachable(path: Path) -> None:
    """Covers the first ancestor that others cannot walk through, if there is one."""
    closed = next((up for up in reversed(path.parents) if not up.stat().st_mode & 0o001), None)
    if closed is None:
        return
    tree = libc.open_tree(str(path))
    libc.mount("cover", str(closed), kind="tmpfs", data="mode=0755")
    path.mkdir(parents=True)
    libc.move_mount(tree, str(path))
    os.close(tree)


def main() -> None:
    if os.geteuid() == 0:
        become_nobody()
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execv(
        sys.executable, [sys.executable, "-m", "pytest", "-p", "no:kernos", "-p", "no:cacheprovider", *sys.argv[1:]]
    )


def become_nobody() -> None:
    """With the interpreter and the repository in reach."""
    os.umask(0o022)
    libc.checked(ctypes.CDLL(None).unshare(CLONE_NEWNS), "unshare")
    libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE)
    for path in (Path(sys.base_prefix), Path(sys.prefix), REPOSITORY):
        make_reachable(path)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


main()

"""The control groups of workers at the zygote's end: made for each child, given limits before it is a worker."""

from __future__ import annotations

import contextlib
import os
from typing import Final, final

from sandbox import libc
from sandbox.spec import Limits

CONTROLLERS: Final = ("cpu", "memory", "pids")
_WALL: Final = 0x40000000  # a child of clone ends without a signal
_OPTIONAL: Final = frozenset({"memory.swap.max", "memory.oom.group"})
"""Files that a system may not have though it has the controller."""


@final
class Leaves:
    """Makes a group for each child of a zygote, in the folder that `descriptor` is of."""

    def __init__(self, descriptor: int) -> None:
        self._folder = descriptor
        self._made = 0

    def make(self) -> tuple[str, int]:
        """The name of a new group, and a descriptor to be cloned into, the caller's to close. Raises OSError."""
        self._made += 1
        name = f"{os.getpid()}-{self._made}"
        os.mkdir(name, 0o755, dir_fd=self._folder)
        return name, os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)

    def try_one(self) -> None:
        """Has a child born into a group and sees it end. Raises OSError where the system refuses. Only from a
        single-threaded process."""
        name, group = self.make()
        try:
            pid = libc.clone(0, group)
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, _WALL)
        finally:
            os.close(group)
            self.drop(name)

    def bound(self, name: str, settings: tuple[tuple[str, str], ...]) -> None:
        """Writes what `settings_of` says. Raises OSError."""
        for file, value in settings:
            try:
                write(f"{name}/{file}", value, folder=self._folder)
            except FileNotFoundError:
                if file not in _OPTIONAL:
                    raise

    def drop(self, name: str) -> None:
        """Removes a group in which nothing is, or which is somebody else's to remove."""
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=self._folder)


def settings_of(limits: Limits, controllers: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """What is written into the files of a worker's group for its limits: file and value, by the controllers there are.

    Memory is that of all its processes together, with what it keeps in /tmp; nothing of it is swapped out."""
    found: list[tuple[str, str]] = []
    if "memory" in controllers:
        most = limits.memory_bytes if limits.data_bytes is None else limits.data_bytes
        found += ("memory.max", str(most)), ("memory.swap.max", "0"), ("memory.oom.group", "1")
    if "pids" in controllers:
        found.append(("pids.max", str(limits.processes)))
    return tuple(found)


def write(path: str, value: str, *, folder: int | None = None) -> None:
    """Into a file of a control group, which is there already. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)

"""What is taken on a file system: the room that is left, and what has changed in some folders since a moment.

Whoever wants to keep something from being counted may make names that no path reaches, folders as deep as there are
bytes, and folders that it has closed: what is hidden so is more than any limit. All of it may take as long as a file
system takes to answer, and one whose server is down does not: call it in a thread.
"""

import contextlib
import errno
import itertools
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

ENTRY_BYTES: Final = 1024
"""What a file or folder takes at least, however little is in it."""
_BLOCK_BYTES: Final = 512
"""Of st_blocks, whatever the file system's own are (inode(7))."""
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


class Room(Struct, frozen=True):
    """A folder that somebody may write to, and the room on its file system when that began."""

    folder: str
    began: int

    def lost(self) -> int:
        """How much less there is now."""
        return self.began - room_bytes(self.folder)


class Ground(Struct, frozen=True):
    """Folders that somebody may write to, and the room where they lie and where other file systems begin in them."""

    folders: tuple[str, ...] = ()
    rooms: tuple[Room, ...] = ()


def ground_of(folders: tuple[str, ...]) -> Ground:
    """These folders, as they are now."""
    return Ground(folders, tuple(Room(folder, room_bytes(folder)) for folder in (*folders, *mounts_below(folders))))


def room_bytes(folder: str) -> int:
    """What can still be written on the file system of a folder; nothing where that cannot be said. Files that hold
    nothing take room, too."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bfree * found.f_frsize + found.f_ffree * ENTRY_BYTES


def mounts_below(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Where in these folders other file systems begin, which a jail has with the folder; none where that cannot be
    said."""
    tops = tuple(os.fsencode(os.path.realpath(folder).rstrip("/")) + b"/" for folder in folders)
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return ()
    points = (_ESCAPED.sub(lambda found: bytes((int(found[1], 8),)), line.split(b" ")[4]) for line in lines)
    return tuple(os.fsdecode(point) for point in points if point.startswith(tops))


def changed_bytes(folders: tuple[str, ...], since_ns: int, pids: list[int]) -> int:
    """What has changed in these folders since then takes on disk, with what has no name but is open in a process. A
    file of many names counts once. Where something is hidden it is more than any limit."""
    seen = set[tuple[int, int]]()
    total = 0
    try:
        for found in itertools.chain(_named(folders), _nameless(pids)):
            file = found.st_dev, found.st_ino
            if found.st_ctime_ns >= since_ns and file not in seen:
                if stat.S_ISREG(found.st_mode) and found.st_nlink != 1:  # else it is met once, and need not be kept
                    seen.add(file)
                total += max(ENTRY_BYTES, found.st_blocks * _BLOCK_BYTES)
    except Hidden:
        return sys.maxsize
    return total


class Hidden(Exception):
    """Files may lie there that cannot be looked at."""


def _named(folders: tuple[str, ...]) -> Iterator[os.stat_result]:
    for folder in folders:
        for path in _below(folder) if os.path.isdir(folder) else (folder,):
            try:
                yield os.lstat(path)
            except OSError as failed:
                _is_honest(failed)


def _below(folder: str) -> Iterator[str]:
    yield f"{folder}/."  # a folder of many names is large itself
    open_ = [folder]  # os.walk of Python 3.11 calls itself for each, and may not as often as there are
    while open_:
        try:
            with os.scandir(open_.pop()) as entries:
                for entry in entries:
                    yield entry.path
                    if entry.is_dir(follow_symlinks=False):
                        open_.append(entry.path)
        except OSError as failed:
            _is_honest(failed)


def _is_honest(failed: OSError) -> None:
    """It may have gone meanwhile, or be others'. Raises Hidden for what lies so deep that no path reaches it, which
    takes some trouble to make, and for a folder that its owner has closed, as whom an ordinary user's kernel looks."""
    if failed.errno == errno.ENAMETOOLONG:
        raise Hidden from failed
    if failed.errno == errno.EACCES and _owner(failed.filename) == os.geteuid():
        raise Hidden from failed


def _owner(path: str) -> int:
    """Of what is there, or of the folder that does not let us see it."""
    while True:
        try:
            return os.lstat(path).st_uid
        except PermissionError:
            path = os.path.dirname(path)
        except OSError:  # it has gone
            return -1


def _nameless(pids: list[int]) -> Iterator[os.stat_result]:
    for pid in pids:
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    found = os.stat(f"/proc/{pid}/fd/{number}")
                    if stat.S_ISREG(found.st_mode) and not found.st_nlink:
                        yield found

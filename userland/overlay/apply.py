"""Doing to a folder what was done in its overlay. Nothing is written outside of it, whatever links lie in either.

Every folder on the way is opened by its name in the one above, never through a link; a file is written beside its
place and then put there. What was checked is what is applied: contents are read from the layer, which is held.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

from userland.overlay.changes import FILE, FOLDER, Change, lstat
from userland.overlay.store import Layer

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@final
class Refused(Exception):
    """What cannot be applied, path by path and why."""

    def __init__(self, reasons: Sequence[tuple[str, str]]) -> None:
        super().__init__(f"{len(reasons)} changes cannot be applied")
        self.reasons = tuple(reasons)


def check(found: Sequence[Change], *, force: bool, links: bool) -> None:
    """Raises Refused for conflicts unless `force`, for links that lead out unless `links`, and for what is neither
    file, folder nor link."""
    reasons = []
    for change in found:
        if change.kind == "special":
            reasons.append((change.path, "is neither a file, a folder nor a link"))
        elif change.conflict and not force:
            reasons.append((change.path, change.conflict))
        elif change.out and not links:
            reasons.append((change.path, f"is a link that leads out of the folder, to {change.target}"))
    if reasons:
        raise Refused(reasons)


def apply(layer: Layer, found: Sequence[Change]) -> None:
    """Applies what was checked, parents first. Raises OSError; what was applied before stays applied."""
    base, upper = os.open(layer.folder, FOLDER), os.open(layer.upper, FOLDER)
    try:
        for change in found:
            with _parent(base, change.path) as (folder, name):
                _one(upper, folder, name, change)
        for change in reversed(found):  # last: one that may not be written to any more is filled by then
            if change.what == "folder" and change.kind != "deleted":
                with _parent(base, change.path) as (folder, name):
                    _set_mode(folder, name, change.mode)
    finally:
        os.close(base)
        os.close(upper)


def opened(root: str, path: str) -> int | None:
    """The file at `path` below a folder, reached through no link; None where it is not one."""
    base = os.open(root, FOLDER)
    try:
        with _parent(base, path) as (folder, name):
            there = lstat(name, folder)
            return os.open(name, FILE, dir_fd=folder) if there is not None and stat.S_ISREG(there.st_mode) else None
    finally:
        os.close(base)


def _one(upper: int, folder: int, name: str, change: Change) -> None:
    there = lstat(name, folder)
    if change.kind == "deleted":
        _remove(folder, name, there)
    elif change.what == "folder":
        if there is not None and not stat.S_ISDIR(there.st_mode):
            _remove(folder, name, there)
            there = None
        if there is None:
            os.mkdir(name, 0o700, dir_fd=folder)
    else:
        beside = f".kernos-{secrets.token_hex(8)}"
        try:
            if change.what == "link":
                os.symlink(change.target, beside, dir_fd=folder)
            else:
                with _parent(upper, change.path) as (source, same):
                    _copy(source, same, folder, beside, change.mode, there)
            if there is not None and stat.S_ISDIR(there.st_mode):
                _remove(folder, name, there)
            os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            if lstat(beside, folder) is not None:
                os.unlink(beside, dir_fd=folder)
            raise


def _copy(source: int, name: str, folder: int, beside: str, mode: int, there: os.stat_result | None) -> None:
    reading = os.open(name, FILE, dir_fd=source)
    with open(reading, "rb") as one:
        told = os.fstat(reading)
        if not stat.S_ISREG(told.st_mode):
            raise OSError(f"{name} is no file any more")
        writing = os.open(
            beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
        )
        with open(writing, "wb") as other:
            shutil.copyfileobj(one, other, 1 << 20)
            if there is not None and os.geteuid() == 0:
                os.fchown(writing, there.st_uid, there.st_gid)
            os.fchmod(writing, mode)
            other.flush()
            os.utime(writing, ns=(told.st_atime_ns, told.st_mtime_ns))


def _set_mode(folder: int, name: str, mode: int) -> None:
    fd = os.open(name, FOLDER, dir_fd=folder)
    try:
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _remove(folder: int, name: str, there: os.stat_result | None) -> None:
    if there is None:
        return
    if stat.S_ISDIR(there.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


@contextmanager
def _parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The folder that `path` lies in, opened name by name from `root`, and its last name."""
    *above, name = path.split("/")
    fd = os.dup(root)
    try:
        for part in above:
            deeper = os.open(part, FOLDER, dir_fd=fd)
            os.close(fd)
            fd = deeper
        yield fd, name
    finally:
        os.close(fd)

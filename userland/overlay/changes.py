"""What an overlay changed, read from its upper layer and compared with the folder as it is now.

The names and bytes in the layer are the command's. Nothing is followed: folders are opened one name at a time, links
are read as links, and what is neither a file, a folder nor a link is told and never opened.
"""

import os
import stat
from collections.abc import Iterator
from typing import Literal, final

from msgspec import Struct

from userland.overlay.store import Layer

Kind = Literal["added", "modified", "deleted", "replaced", "mode", "special"]
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
PERMISSIONS = 0o777
"""Of a mode, what is taken over: never that somebody else runs it as its owner."""
_PIECE_BYTES = 1 << 20


@final
class Change(Struct, frozen=True, kw_only=True):
    """One path of a folder, relative to it. `target` is what a link leads to; `out` that this is not in the folder.
    `conflict` says what happened to the folder's own since the overlay began, "" where nothing did."""

    path: str
    kind: Kind
    what: Literal["file", "folder", "link", "other"]
    mode: int = 0
    target: str = ""
    out: bool = False
    conflict: str = ""


def changes(layer: Layer) -> list[Change]:
    """All of them, parents before children. Raises OSError."""
    upper = os.open(layer.upper, FOLDER)
    try:
        base = os.open(layer.folder, FOLDER)
        try:
            return list(_Reader(layer.since_ns).read(upper, base, ""))
        finally:
            os.close(base)
    finally:
        os.close(upper)


@final
class _Reader:
    def __init__(self, since_ns: int) -> None:
        self._since_ns = since_ns

    def read(self, upper: int, base: int | None, at: str, *, opaque: bool = False) -> Iterator[Change]:
        """What `upper` makes of `base`; None for a folder that is not there."""
        names = sorted(os.listdir(upper))
        if opaque and base is not None:
            for name in sorted(set(os.listdir(base)) - set(names)):
                yield self._deleted(base, name, at + name)
        for name in names:
            told = os.stat(name, dir_fd=upper, follow_symlinks=False)
            there = lstat(name, base)
            path = at + name
            if is_whiteout(told):
                if there is not None and base is not None:
                    yield self._deleted(base, name, path)
            elif stat.S_ISDIR(told.st_mode):
                yield from self._folder(upper, base, name, path, there)
            elif stat.S_ISREG(told.st_mode) or stat.S_ISLNK(told.st_mode):
                yield from self._file(upper, base, name, path, told, there)
            else:
                yield Change(path=path, kind="special", what="other", mode=stat.S_IMODE(told.st_mode))

    def _folder(
        self, upper: int, base: int | None, name: str, path: str, there: os.stat_result | None
    ) -> Iterator[Change]:
        fd = os.open(name, FOLDER, dir_fd=upper)
        below: int | None = None
        try:
            mode = os.fstat(fd).st_mode & PERMISSIONS
            merged = there is not None and stat.S_ISDIR(there.st_mode)
            if merged:
                assert there is not None
                below = os.open(name, FOLDER, dir_fd=base)
                if there.st_mode & PERMISSIONS != mode:
                    yield Change(path=path, kind="mode", what="folder", mode=mode)
            else:
                kind: Kind = "added" if there is None else "replaced"
                conflict = self._conflict(fd, base, there)
                yield Change(path=path, kind=kind, what="folder", mode=mode, conflict=conflict)
            yield from self.read(fd, below, path + "/", opaque=_marked(fd, "opaque"))
        finally:
            os.close(fd)
            if below is not None:
                os.close(below)

    def _file(
        self,
        upper: int,
        base: int | None,
        name: str,
        path: str,
        told: os.stat_result,
        there: os.stat_result | None,
    ) -> Iterator[Change]:
        link = stat.S_ISLNK(told.st_mode)
        target = os.readlink(name, dir_fd=upper) if link else ""
        mode = told.st_mode & PERMISSIONS
        copied = f"/proc/self/fd/{upper}/{name}"
        change = Change(
            path=path,
            kind="added",
            what="link" if link else "file",
            mode=mode,
            target=target,
            out=link and leads_out(path, target),
            conflict=self._conflict(copied, base, there),
        )
        if there is None:
            yield change
        elif stat.S_IFMT(there.st_mode) != stat.S_IFMT(told.st_mode):
            yield _as(change, "replaced")
        elif link:
            if base is not None and os.readlink(name, dir_fd=base) != target:
                yield _as(change, "modified")
        elif base is not None and not _same(upper, base, name, told, there):
            yield _as(change, "modified")
        elif there.st_mode & PERMISSIONS != mode:
            yield _as(change, "mode")

    def _deleted(self, base: int, name: str, path: str) -> Change:
        there = os.stat(name, dir_fd=base, follow_symlinks=False)
        folder = stat.S_ISDIR(there.st_mode)
        fresh = self._fresh(base, name) if folder else there.st_ctime_ns >= self._since_ns
        what: Literal["folder", "link", "file"] = (
            "folder" if folder else "link" if stat.S_ISLNK(there.st_mode) else "file"
        )
        return Change(path=path, kind="deleted", what=what, conflict="was changed meanwhile" if fresh else "")

    def _fresh(self, parent: int, name: str) -> bool:
        """Whether anything in a folder of the base was changed since the overlay began."""
        fd = os.open(name, FOLDER, dir_fd=parent)
        try:
            if os.fstat(fd).st_ctime_ns >= self._since_ns:
                return True
            for each in os.listdir(fd):
                told = os.stat(each, dir_fd=fd, follow_symlinks=False)
                fresh = self._fresh(fd, each) if stat.S_ISDIR(told.st_mode) else told.st_ctime_ns >= self._since_ns
                if fresh:
                    return True
            return False
        finally:
            os.close(fd)

    def _conflict(self, copied: int | str, base: int | None, there: os.stat_result | None) -> str:
        if there is None:
            # What was copied from the folder is not there any more: it was renamed in the overlay, or, where the folder
            # that it lay in was changed since, perhaps removed there.
            changed = base is not None and os.fstat(base).st_ctime_ns >= self._since_ns
            return "was removed meanwhile" if changed and _marked(copied, "origin") else ""
        if stat.S_ISDIR(there.st_mode):
            return ""
        return "was changed meanwhile" if there.st_ctime_ns >= self._since_ns else ""


def lstat(name: str, folder: int | None) -> os.stat_result | None:
    """Of what lies there, itself; None for nothing."""
    if folder is None:
        return None
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_whiteout(told: os.stat_result) -> bool:
    """How the file system writes down that there is nothing."""
    return stat.S_ISCHR(told.st_mode) and told.st_rdev == 0


def leads_out(path: str, target: str) -> bool:
    """Whether a link at `path` of a folder leads to what is not in it, as its text alone can tell."""
    if target.startswith("/"):
        return True
    depth = path.count("/")
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False


def _as(change: Change, kind: Kind) -> Change:
    from msgspec.structs import replace

    return replace(change, kind=kind)


def _marked(what: int | str, mark: str) -> bool:
    """Whether overlayfs left that mark on a file of the layer."""
    try:
        os.getxattr(what, f"user.overlay.{mark}", **({} if isinstance(what, int) else {"follow_symlinks": False}))
    except OSError:
        return False
    return True


def _same(upper: int, base: int, name: str, told: os.stat_result, there: os.stat_result) -> bool:
    if told.st_size != there.st_size:
        return False
    with open(os.open(name, FILE, dir_fd=upper), "rb") as one, open(os.open(name, FILE, dir_fd=base), "rb") as other:
        while True:
            piece = one.read(_PIECE_BYTES)
            if piece != other.read(_PIECE_BYTES):
                return False
            if not piece:
                return True

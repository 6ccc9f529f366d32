"""From a tree and a path to descriptors: the one place where the file host opens anything."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final, final

from drivers.filing.beneath import BENEATH, IN_ROOT, NO_SYMLINKS, open_beneath
from drivers.filing.faults import reached_by_link
from syscalls.errors import Busy, Invalid, PermissionDenied
from syscalls.filing import EntryKind, Stat, Tree

_LOOK: Final = os.O_PATH
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY
_CALM: Final = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TRIES: Final = 4
_ROOTS_MAX: Final = 256
_KINDS: Final[dict[int, EntryKind]] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


@final
class Walker:
    """Opens what lies below the roots of trees, and nothing in the folders `never` (the kernel's own)."""

    def __init__(self, never: tuple[str, ...] = ()) -> None:
        self._never = tuple(os.path.realpath(folder) for folder in never)
        self._apart: dict[str, bool] = {}

    @contextlib.contextmanager
    def at(self, tree: Tree, path: str, flags: int, mode: int = 0) -> Iterator[int]:
        """A descriptor of `path` for as long as the block lasts."""
        opened = self.open(tree, path, flags, mode)
        try:
            yield opened
        finally:
            os.close(opened)

    def open(self, tree: Tree, path: str, flags: int, mode: int = 0) -> int:
        """A descriptor of `path`, the caller's to close. Raises OSError, or PermissionDenied for the kernel's own."""
        with self._root(tree) as root:
            return self.open_from(root, tree, path, flags, mode)

    def open_from(self, root: int, tree: Tree, path: str, flags: int, mode: int = 0) -> int:
        """As `open`, with a descriptor of the root that somebody keeps."""
        opened = open_beneath(root, path, flags, resolve=_resolve(tree), mode=mode)
        try:
            self._keep_out(tree, opened, path)
        except BaseException:
            os.close(opened)
            raise
        return opened

    @contextlib.contextmanager
    def parent(self, tree: Tree, path: str) -> Iterator[tuple[int, str]]:
        """A descriptor of the folder that `path` lies in, and its last name. The root itself lies in none."""
        if path == ".":
            raise PermissionDenied(
                f"{shown(tree, path)} is what the right names: what lies in it can be changed, not itself"
            )
        above, _, name = path.rpartition("/")
        if name in ("", ".", "..") or "\0" in path:
            raise Invalid(f"{shown(tree, path)!r}: it ends in no name")
        with self.at(tree, above or ".", _FOLDER) as folder:
            yield folder, name

    def folder(self, tree: Tree, path: str) -> int:
        """A descriptor of a folder that can be read."""
        return self.open(tree, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)

    def existing(self, tree: Tree, path: str, flags: int) -> int:
        """A regular file. It is looked at before it is opened: opening a device or a pipe may do something."""
        with self.at(tree, path, _LOOK) as seen:
            _regular(os.fstat(seen), shown(tree, path))
            return os.open(f"/proc/self/fd/{seen}", flags | _CALM)

    def created(self, tree: Tree, path: str) -> int:
        """A new file, for writing. Raises FileExistsError."""
        mode = 0o600 if tree.private else 0o644
        return self.open(tree, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | _CALM, mode)

    def existing_or_created(self, tree: Tree, path: str) -> int:
        """A regular file for writing, made if it is not there."""
        for _ in range(_TRIES):
            try:
                return self.existing(tree, path, os.O_WRONLY)
            except FileNotFoundError:
                pass
            try:
                return self.created(tree, path)
            except FileExistsError:
                pass
        raise Busy(f"{shown(tree, path)}: it is a link that leads nowhere, or comes and goes: try again")

    @contextlib.contextmanager
    def _root(self, tree: Tree) -> Iterator[int]:
        """The root is walked without following links: whoever may rename above it could lay one there."""
        if tree.private:
            os.makedirs(tree.root, 0o700, exist_ok=True)
            root = os.open(tree.root, _FOLDER | os.O_CLOEXEC)
        else:
            root = open_plainly(tree.root)
        try:
            yield root
        finally:
            os.close(root)

    def _keep_out(self, tree: Tree, opened: int, path: str) -> None:
        if tree.private or self._is_apart(tree.root):
            return
        where = os.readlink(f"/proc/self/fd/{opened}")
        if any(where == folder or where.startswith(folder + "/") for folder in self._never):
            raise PermissionDenied(
                f"{shown(tree, path)}: it belongs to the kernel (its keys and its truth); no right reaches there"
            )

    def _is_apart(self, root: str) -> bool:
        """Whether no walk that stays below `root`, in whose path no link is followed, comes to what is the kernel's."""
        if root not in self._apart:
            if len(self._apart) >= _ROOTS_MAX:
                self._apart.clear()
            folder = root.rstrip("/") + "/"
            self._apart[root] = not any(
                never.startswith(folder) or folder.startswith(never + "/") for never in self._never
            )
        return self._apart[root]


def shown(tree: Tree, path: str) -> str:
    """The path as whoever asked for it knows it: where a private tree lies is the kernel's business."""
    root = "~" if tree.private else tree.root.rstrip("/")
    return root + "/" + path if path != "." else root or "/"


def open_plainly(root: str) -> int:
    """A descriptor of a folder in whose path no link is followed."""
    slash = os.open("/", _FOLDER | os.O_CLOEXEC)
    try:
        return open_beneath(slash, root.lstrip("/") or ".", _FOLDER, resolve=BENEATH | NO_SYMLINKS)
    except OSError as failed:
        if failed.errno == errno.ELOOP:
            raise reached_by_link(root) from None
        raise
    finally:
        os.close(slash)


def _resolve(tree: Tree) -> int:
    """Below `/` there is no outside, so an absolute link may be followed there."""
    if not tree.follow:
        return BENEATH | NO_SYMLINKS
    return IN_ROOT if tree.root == "/" else BENEATH


def _regular(seen: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(seen.st_mode):
        raise Invalid(f"{path}: it is a folder: list it, or name a file in it")
    if not stat.S_ISREG(seen.st_mode):
        raise Invalid(f"{path}: it is a device, a pipe or a socket, and only files are read and written")


def kind_of(mode: int) -> EntryKind:
    """What a mode says it is."""
    return _KINDS.get(stat.S_IFMT(mode), "other")


def told(found: os.stat_result) -> Stat:
    """A stat of the machine's as one of the ABI."""
    return Stat(
        kind=kind_of(found.st_mode),
        size=found.st_size if stat.S_ISREG(found.st_mode) else 0,
        modified_s=found.st_mtime_ns / 1e9,
        identity=f"{found.st_dev:x}.{found.st_ino:x}",
    )

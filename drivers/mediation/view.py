"""What a worker sees of its own, without any right: the inside of its jail, which is read-only; and its folders."""

import errno
import os
import stat
from collections import OrderedDict
from typing import Final, final

from drivers.filing.beneath import IN_ROOT, open_beneath

FOLDERS_MAX: Final = 4096


@final
class View:
    """`root` is O_PATH of the worker's own root: links in it lead to what lies in it."""

    def __init__(self, root: int) -> None:
        self._root = root

    def open(self, path: str, flags: int) -> tuple[int, os.stat_result | None]:
        """For reading; with the descriptor what a folder is, None for a file. Raises OSError."""
        if flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        keep = flags & (os.O_DIRECTORY | os.O_NOFOLLOW)
        fd = self._at(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | keep)
        found = os.fstat(fd)
        return fd, found if stat.S_ISDIR(found.st_mode) else None

    def stat(self, path: str, *, follow: bool) -> os.stat_result:
        seen = self._at(path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        try:
            return os.fstat(seen)
        finally:
            os.close(seen)

    def access(self, path: str, mode: int) -> None:
        found = self.stat(path, follow=True)
        if mode & os.W_OK:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if mode & os.X_OK and not stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o111:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def read_link(self, path: str) -> bytes:
        seen = self._at(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.fsencode(os.readlink("", dir_fd=seen))
        finally:
            os.close(seen)

    def _at(self, path: str, flags: int) -> int:
        return open_beneath(self._root, path.strip("/") or ".", flags, resolve=IN_ROOT)


@final
class Folders:
    """By which path each folder was opened that a worker may have a descriptor of: what is named from it lies there.

    A folder is known by its device and number, whatever the worker has made of its descriptors meanwhile."""

    def __init__(self) -> None:
        self._paths: OrderedDict[tuple[int, int], str] = OrderedDict()

    def opened(self, found: os.stat_result, path: str) -> None:
        """It has a descriptor of this one from now on."""
        key = found.st_dev, found.st_ino
        self._paths[key] = path
        self._paths.move_to_end(key)
        if len(self._paths) > FOLDERS_MAX:
            self._paths.popitem(last=False)

    def path(self, found: os.stat_result) -> str:
        """Raises OSError: ENOTDIR for what is no folder, EACCES for one that nobody here has opened."""
        if not stat.S_ISDIR(found.st_mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        path = self._paths.get((found.st_dev, found.st_ino))
        if path is None:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return path

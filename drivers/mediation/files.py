"""What a supervisor does with files of the host, by the file host's own walk: nothing leads out of the tree of a right.

What it opens it hands out as it is, so only what a descriptor may safely be is opened: regular files and folders. A
folder's descriptor is good for listing it and for naming what lies in it; no call in the worker could walk from it.
"""

import errno
import os
import stat
import time
from typing import Final, final

from drivers.filing.walk import Walker, open_plainly
from syscalls.errors import Busy, Invalid, PermissionDenied, SyscallError, TryAgain
from syscalls.mounts import Spot

_REFUSED: Final = os.O_PATH | (os.O_TMPFILE & ~os.O_DIRECTORY) | os.O_DIRECT | os.O_ASYNC | os.O_NOATIME
_KEPT: Final = os.O_APPEND | os.O_NONBLOCK | os.O_DSYNC | os.O_SYNC
_CALM: Final = os.O_NOCTTY | os.O_CLOEXEC
_TRIES: Final = 4
_ROOT_KEPT_S: Final = 0.05
_MODE: Final = 0o755
_NOW: Final = (1 << 30) - 1
_OMIT: Final = (1 << 30) - 2
_NANO: Final = 1_000_000_000


def wanted(flags: int) -> tuple[bool, bool]:
    """What an open is for: reading, writing. Raises OSError for what is never opened."""
    if flags & _REFUSED:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    access = flags & os.O_ACCMODE
    if access == os.O_ACCMODE:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    write = access != os.O_RDONLY or bool(flags & (os.O_CREAT | os.O_TRUNC))
    return access != os.O_WRONLY, write


@final
class HostFiles:
    """Files and folders of the host; raises OSError, and the file host's errors (see `code_of`)."""

    def __init__(self, never: tuple[str, ...]) -> None:
        self._walk = Walker(never)
        self._kept: tuple[str, int, float] = "", -1, 0.0
        self._own = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)  # to open anew what was looked at

    def open(self, where: Spot, flags: int, mode: int, *, folder: bool) -> tuple[int, os.stat_result | None]:
        """As open(2); `folder`: nothing but a folder will do. With the descriptor what a folder is, None for a file."""
        new = flags & os.O_CREAT
        if new and flags & os.O_EXCL:
            return self._created(where, flags, mode), None
        for _ in range(_TRIES):
            try:
                return self._existing(where, flags, folder=folder)
            except FileNotFoundError:
                if not new or folder:
                    raise
            try:
                return self._created(where, flags, mode), None
            except FileExistsError:
                pass
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def stat(self, where: Spot, *, follow: bool) -> os.stat_result:
        """What lies there."""
        with self._seen(where, follow=follow) as seen:
            return os.fstat(seen)

    def access(self, where: Spot, mode: int) -> None:
        """Raises OSError unless the machine lets the kernel's user do that."""
        with self._seen(where) as seen:
            if not os.access(f"/proc/self/fd/{seen}", mode, effective_ids=True):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def read_link(self, where: Spot) -> bytes:
        """Where a link leads."""
        with self._seen(where, follow=False) as seen:
            return os.fsencode(os.readlink("", dir_fd=seen))

    def make_folder(self, where: Spot, mode: int) -> None:
        with self._walk.parent(where.tree, where.inner) as (folder, name):
            os.mkdir(name, mode & _MODE, dir_fd=folder)

    def remove(self, where: Spot, *, directory: bool) -> None:
        with self._walk.parent(where.tree, where.inner) as (folder, name):
            (os.rmdir if directory else os.unlink)(name, dir_fd=folder)

    def rename(self, where: Spot, to: Spot) -> None:
        with (
            self._walk.parent(where.tree, where.inner) as (folder, name),
            self._walk.parent(to.tree, to.inner) as (to_folder, to_name),
        ):
            os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)

    def truncate(self, where: Spot, size: int) -> None:
        fd, _ = self._existing(where, os.O_WRONLY, folder=False)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def change_mode(self, where: Spot, mode: int) -> None:
        with self._seen(where) as seen:
            os.chmod(f"/proc/self/fd/{seen}", mode & 0o777)

    def change_times(self, where: Spot, times: tuple[int, int, int, int] | None) -> None:
        """Links are never changed."""
        with self._seen(where) as seen:
            place = f"/proc/self/fd/{seen}"
            if times is None:
                os.utime(place)
                return
            found = os.stat(place)
            read = _time(times[0], times[1], found.st_atime_ns)
            changed = _time(times[2], times[3], found.st_mtime_ns)
            os.utime(place, ns=(read, changed))

    def _seen(self, where: Spot, *, follow: bool = True) -> "_Seen":
        return _Seen(self._walked(where, os.O_PATH | (0 if follow else os.O_NOFOLLOW)))

    def _walked(self, where: Spot, flags: int, mode: int = 0) -> int:
        """The walk, from a root that was opened lately: whoever moves a granted folder is heard of a moment later."""
        root, fd, until_s = self._kept
        now_s = time.monotonic()
        if root != where.tree.root or now_s >= until_s:
            if fd >= 0:
                self._kept = "", -1, 0.0
                os.close(fd)
            fd = open_plainly(where.tree.root)
            self._kept = where.tree.root, fd, now_s + _ROOT_KEPT_S
        return self._walk.open_from(fd, where.tree, where.inner, flags, mode)

    def _created(self, where: Spot, flags: int, mode: int) -> int:
        fresh = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | _CALM | flags & (os.O_ACCMODE | _KEPT)
        return self._walked(where, fresh, mode & _MODE)

    def _existing(self, where: Spot, flags: int, *, folder: bool) -> tuple[int, os.stat_result | None]:
        """It is looked at before it is opened: opening a device or a pipe may do something, and may wait."""
        with self._seen(where, follow=not flags & os.O_NOFOLLOW) as seen:
            found = os.fstat(seen)
            mode = found.st_mode
            if stat.S_ISDIR(mode):
                if flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC):
                    raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
                return os.open(str(seen), os.O_RDONLY | os.O_DIRECTORY | _CALM, dir_fd=self._own), found
            if folder or flags & os.O_DIRECTORY:
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if stat.S_ISLNK(mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if not stat.S_ISREG(mode):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            keep = flags & (os.O_ACCMODE | os.O_TRUNC | _KEPT)
            return os.open(str(seen), keep | _CALM, dir_fd=self._own), None


@final
class _Seen:
    """A descriptor that is closed with the block."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def code_of(failed: Exception) -> int:
    """The errno that a worker is told."""
    match failed:
        case PermissionDenied():
            return errno.EACCES
        case Invalid():
            return errno.EINVAL
        case Busy():
            return errno.EBUSY
        case TryAgain():
            return errno.EAGAIN
        case OSError() if not isinstance(failed, SyscallError) and failed.errno:
            return errno.EACCES if failed.errno == errno.EXDEV else failed.errno
    return errno.EIO


def _time(seconds: int, nanoseconds: int, before: int) -> int:
    if nanoseconds == _OMIT:
        return before
    if nanoseconds == _NOW:
        return time.time_ns()
    if not 0 <= nanoseconds < _NANO or not -(1 << 33) < seconds < 1 << 33:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return seconds * _NANO + nanoseconds

"""The operations of a file host, each from its first descriptor to its last, blocking."""

import contextlib
import errno
import itertools
import os
import stat
import threading
from collections.abc import Iterator
from typing import Final, final

from drivers.filing.beneath import scratch_name
from drivers.filing.faults import told as fault
from drivers.filing.walk import Walker, kind_of, shown, told
from syscalls.errors import Invalid, NotFound, SyscallError, TryAgain
from syscalls.filing import (
    Bytes,
    Changed,
    Entries,
    Entry,
    File,
    MakeFolder,
    Next,
    Open,
    Opened,
    Place,
    Read,
    Rename,
    Replace,
    Scan,
    Stat,
    Write,
)

FILES_MAX: Final = 8192
"""Descriptors that one host holds."""


@final
class Held:
    """A descriptor, or the walk through a folder; `private` says whose growth is told."""

    def __init__(self, fd: int, path: str, *, private: bool, entries: "os._ScandirIterator[str] | None" = None) -> None:
        self.fd = fd
        self.path = path
        self.private = private
        self.entries = entries
        self.users = 1

    def drop(self) -> None:
        """One user less; the last closes it."""
        self.users -= 1
        if self.users == 0:
            if self.entries is not None:
                self.entries.close()
            os.close(self.fd)


@final
class Files:
    """What the host holds. Methods may be called from many threads at once."""

    def __init__(self, never: tuple[str, ...] = ()) -> None:
        self._walk = Walker(never)
        self._held: dict[int, Held] = {}
        self._table = threading.Lock()
        self._books = threading.Lock()

    def open(self, call: Open) -> Opened:
        with _named(shown(call.tree, call.path)), self._counted(call.tree.private and call.truncate):
            fd = self._opened(call)
            try:
                before = os.fstat(fd).st_size
                if call.truncate:
                    os.ftruncate(fd, 0)
                found = os.fstat(fd)
                self._hold(call.file, Held(fd, shown(call.tree, call.path), private=call.tree.private))
                return Opened(stat=told(found), grown=found.st_size - before if call.tree.private else 0)
            except BaseException:
                os.close(fd)
                raise

    def read(self, call: Read) -> Bytes:
        with self._using(call.file) as held, _named(held.path):
            return Bytes(data=os.pread(held.fd, call.count, call.offset))

    def write(self, call: Write) -> Changed:
        with self._using(call.file) as held, _named(held.path), self._counted(held.private):
            before = os.fstat(held.fd).st_size
            offset = before if call.offset is None else call.offset
            _check_growth(max(0, offset + len(call.data) - before), call.grow_max, held.path)
            try:
                _write(held.fd, call.data, call.offset)
            except OSError:
                if held.private and os.fstat(held.fd).st_size > before:  # nobody is charged for half a write
                    os.ftruncate(held.fd, before)
                raise
            if call.sync:
                os.fsync(held.fd)
            size = os.fstat(held.fd).st_size
            return Changed(grown=size - before if held.private else 0, size=size)

    def replace(self, call: Replace) -> Changed:
        private = call.tree.private
        with (
            _named(shown(call.tree, call.path)),
            self._counted(private),
            self._walk.parent(call.tree, call.path) as (folder, name),
        ):
            old = _replaceable(folder, name, shown(call.tree, call.path))
            before = old.st_size if old else 0
            _check_growth(max(0, len(call.data) - before), call.grow_max, shown(call.tree, call.path))
            _in_place_of(folder, name, call.data, old=old, private=private, sync=call.sync)
            return Changed(grown=len(call.data) - before if private else 0, size=len(call.data))

    def close(self, call: File) -> None:
        with self._table:
            held = self._held.pop(call.file, None)
            if held is not None:
                held.drop()

    def stat(self, call: Place) -> Stat:
        with _named(shown(call.tree, call.path)):
            if call.path == ".":
                with self._walk.at(call.tree, ".", os.O_PATH) as root:
                    return told(os.fstat(root))
            with self._walk.at(call.tree, call.path, os.O_PATH | os.O_NOFOLLOW) as seen:
                return told(os.fstat(seen))

    def scan(self, call: Scan) -> Opened:
        with _named(shown(call.tree, call.path)):
            fd = self._walk.folder(call.tree, call.path)
            try:
                self._hold(call.file, Held(fd, shown(call.tree, call.path), private=False, entries=os.scandir(fd)))
                return Opened(stat=told(os.fstat(fd)))
            except BaseException:
                os.close(fd)
                raise

    def next(self, call: Next) -> Entries:
        with self._using(call.file) as held, _named(held.path):
            there = (entry for entry in map(_entry, held.entries or ()) if entry is not None)
            return Entries(entries=tuple(itertools.islice(there, call.count)))

    def remove(self, call: Place) -> Changed:
        private = call.tree.private
        with (
            _named(shown(call.tree, call.path)),
            self._counted(private),
            self._walk.parent(call.tree, call.path) as (folder, name),
        ):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
            return Changed(grown=-_size(found) if private else 0)

    def make_folder(self, call: MakeFolder) -> None:
        mode = 0o700 if call.tree.private else 0o755
        names = call.path.split("/")
        wanted = ["/".join(names[: n + 1]) for n in range(len(names))] if call.parents else [call.path]
        if call.path == "." and call.parents:
            return
        with _named(shown(call.tree, call.path)):
            for each in wanted:
                with self._walk.parent(call.tree, each) as (folder, name):
                    try:
                        os.mkdir(name, mode, dir_fd=folder)
                    except FileExistsError:
                        if not call.parents:
                            raise
            if call.parents:  # what is there already may be a file
                with self._walk.at(call.tree, call.path, os.O_PATH | os.O_DIRECTORY):
                    pass

    def rename(self, call: Rename) -> Changed:
        with (
            _named(f"{shown(call.tree, call.path)} to {shown(call.to_tree, call.to_path)}"),
            self._counted(call.tree.private),
            self._walk.parent(call.tree, call.path) as (folder, name),
            self._walk.parent(call.to_tree, call.to_path) as (to_folder, to_name),
        ):
            lost = _size_at(to_folder, to_name)
            same = _same(folder, name, to_folder, to_name)
            try:
                os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)
            except OSError as failed:
                if failed.errno == errno.EXDEV:  # EXDEV means another thing here
                    raise Invalid(
                        f"{shown(call.to_tree, call.to_path)}: it lies on another file system: write it there instead"
                    ) from None
                raise
            return Changed(grown=-lost if call.tree.private and not same else 0)

    def close_all(self) -> None:
        """Gives every descriptor back."""
        for number in tuple(self._held):
            self.close(File(device=0, file=number))

    def _opened(self, call: Open) -> int:
        if not call.write:
            return self._walk.existing(call.tree, call.path, os.O_RDONLY)
        if call.exclusive:
            return self._walk.created(call.tree, call.path)
        if call.create:
            return self._walk.existing_or_created(call.tree, call.path)
        return self._walk.existing(call.tree, call.path, os.O_WRONLY)

    def _hold(self, number: int, held: Held) -> None:
        with self._table:
            if len(self._held) >= FILES_MAX or number in self._held:
                raise TryAgain(f"{len(self._held)} files are open on this host: close some")
            self._held[number] = held

    @contextlib.contextmanager
    def _using(self, number: int) -> Iterator[Held]:
        """The descriptor, which stays open until the block ends even if it is given back meanwhile."""
        with self._table:
            held = self._held.get(number)
            if held is None:
                raise NotFound(f"this host holds no file {number}")
            held.users += 1
        try:
            yield held
        finally:
            with self._table:
                held.drop()

    @contextlib.contextmanager
    def _counted(self, private: bool) -> Iterator[None]:
        """Changes of private trees one after another, so that what each grew by adds up."""
        if not private:
            yield
            return
        with self._books:
            yield


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """What the machine says, as an error of the ABI about `path`."""
    try:
        yield
    except SyscallError:  # some of them are OSErrors too
        raise
    except OSError as failed:
        raise fault(failed, path) from None


def _check_growth(grown: int, grow_max: int | None, path: str) -> None:
    if grow_max is not None and grown > grow_max:
        raise TryAgain(f"{path}: it has changed meanwhile and would grow by {grown} bytes: try again")


def _write(fd: int, data: bytes, offset: int | None) -> None:
    """At `offset`, or at the end, wherever that is by then: then the file is opened once more, to append."""
    if offset is not None:
        _write_all_at(fd, data, offset)
        return
    end = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        _write_all(end, data)
    finally:
        os.close(end)


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _write_all_at(fd: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(fd, left, offset)
        left, offset = left[written:], offset + written


def _replaceable(folder: int, name: str, path: str) -> os.stat_result | None:
    """What is to be replaced: a regular file, or nothing yet."""
    try:
        old = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(old.st_mode):
        raise Invalid(f"{path}: it is a {kind_of(old.st_mode)}, and only a file is replaced by one")
    return old


def _in_place_of(folder: int, name: str, data: bytes, *, old: os.stat_result | None, private: bool, sync: bool) -> None:
    scratch = scratch_name()
    mode = stat.S_IMODE(old.st_mode) if old else 0o600 if private else 0o644
    fd = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        try:
            _write_all(fd, data)
            if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(PermissionError):
                    os.fchown(fd, old.st_uid, old.st_gid)
            os.fchmod(fd, mode)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(scratch, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch, dir_fd=folder)
        raise
    if sync:
        _sync_folder(folder)


def _sync_folder(folder: int) -> None:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _entry(each: "os.DirEntry[str]") -> Entry | None:
    """None: it went away meanwhile."""
    try:
        found = each.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    raw = os.fsencode(each.name)
    name = raw.decode("utf-8", "backslashreplace")
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return Entry(
        name=name,
        kind=kind_of(found.st_mode),
        size=size,
        modified_s=found.st_mtime_ns / 1e9,
        foreign=os.fsencode(name) != raw,
    )


def _size(found: os.stat_result) -> int:
    """What goes with the last name of a regular file."""
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0


def _size_at(folder: int, name: str) -> int:
    try:
        return _size(os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return 0


def _same(folder: int, name: str, to_folder: int, to_name: str) -> bool:
    try:
        here = os.stat(name, dir_fd=folder, follow_symlinks=False)
        there = os.stat(to_name, dir_fd=to_folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(here, there)

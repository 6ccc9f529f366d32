"""The folder of installed packages: one folder each, with a record that says which release is the installed one.

    packages/NAME/package.json            the record: replacing it is what installs, upgrades and rolls back
    packages/NAME/VERSION-DIGEST/         a release: its wheel, signature, its record as it was, and site/
    packages/keys.json                    the key ring
    packages/.aside-*/                    what is being made: nobody looks there, and the next command sweeps it

Whatever fails on the way leaves the record as it was. The kernel only reads.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from syscalls.errors import Busy, IOFailed, NotFound
from syscalls.package import RECORD, SITE, Installed, normal_name, read_record, write_json

_ASIDE: Final = ".aside-"
TURN_S_MAX: Final = 5.0
"""How long a command waits for another one."""


@final
class Store:
    """The folder `packages`. What changes it holds its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time changes the folder; what a killed one left aside is swept. Raises IOFailed (EIO), Busy
        (EBUSY) where another one does not come to its end."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as failed:
            raise IOFailed(f"{self.folder} cannot hold packages: {failed.strerror}") from None
        try:
            _lock(lock)
            self._sweep()
            yield
        finally:
            os.close(lock)

    @contextmanager
    def aside(self) -> Iterator[Path]:
        """A folder to make things in, on the same disk; gone after the block."""
        folder = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=self.folder))
        try:
            yield folder
        finally:
            discard(folder)

    def all(self) -> list[Installed]:
        """The records of what is installed, by name. Raises IOFailed (EIO) for one that cannot be read."""
        return [self._read(path) for path in sorted(self.folder.glob(f"[a-z0-9]*/{RECORD}"))]

    def find(self, name: str) -> Installed | None:
        """The record of a package, None where it is not installed."""
        path = self._place(name) / RECORD
        return self._read(path) if path.is_file() else None

    def get(self, name: str) -> Installed:
        """As `find`. Raises NotFound (ENOENT) listing what is installed."""
        found = self.find(name)
        if found is None:
            known = ", ".join(record.manifest.name for record in self.all()) or "none"
            raise NotFound(f"no package {name!r}; installed: {known}")
        return found

    def release(self, name: str, release: str) -> Installed:
        """The record of a release as it was when it was installed. Raises NotFound."""
        path = self._place(name) / release / RECORD
        if not release or not path.is_file():
            raise NotFound(f"there is no version of {name} before this one")
        return self._read(path)

    def site(self, record: Installed) -> Path:
        """Where its modules lie."""
        return self._place(record.manifest.name) / record.release / SITE

    def keep(self, record: Installed, made: Path) -> None:
        """Moves a release that was made aside to its place, and makes it the installed one."""
        place = self._place(record.manifest.name)
        (made / RECORD).write_bytes(write_json(record))
        fresh = not place.exists()
        place.mkdir(exist_ok=True, mode=0o700)
        try:
            discard(place / record.release)
            made.rename(place / record.release)
            self.write(record)
        except BaseException:
            discard(place if fresh else place / record.release)
            raise
        self._forget_older(record)

    def write(self, record: Installed) -> None:
        """Replaces the record at once, durably."""
        place = self._place(record.manifest.name)
        fresh = place / f".{RECORD}"
        with open(fresh, "wb") as file:
            file.write(write_json(record))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(place / RECORD)
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Takes a package away, with all of its releases, grants and counters."""
        place = self._place(name)
        gone = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=self.folder))
        place.rename(gone / place.name)
        discard(gone)

    def _sweep(self) -> None:
        """Removes what a command that was killed left: things aside, and a package that never got its record."""
        for folder in self.folder.iterdir():
            if folder.is_dir() and (folder.name.startswith(_ASIDE) or not (folder / RECORD).exists()):
                discard(folder)

    def _place(self, name: str) -> Path:
        return self.folder / normal_name(name).replace("/", "-")

    def _read(self, path: Path) -> Installed:
        try:
            return read_record(path.read_bytes())
        except (OSError, ValueError) as bad:
            raise IOFailed(f"{path} cannot be read: {bad}; 'kernos pkg remove {path.parent.name}' clears it") from None

    def _forget_older(self, record: Installed) -> None:
        for folder in self._place(record.manifest.name).iterdir():
            if folder.is_dir() and folder.name not in (record.release, record.before):
                discard(folder)


def _lock(descriptor: int) -> None:
    """Waits its turn, but not for somebody who thinks over an answer."""
    deadline = time.monotonic() + TURN_S_MAX
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(
                    "another 'kernos pkg' is at work, or waits for an answer: try again when it is done"
                ) from None
            time.sleep(0.02)


def discard(folder: Path) -> None:
    """Removes a tree, what cannot be written in it too; links are removed, not followed. Nothing happens where there is
    none."""
    if not folder.is_symlink() and folder.is_dir():
        for top, folders, _ in os.walk(folder):
            os.chmod(top, stat.S_IRWXU)
            folders[:] = [each for each in folders if not os.path.islink(os.path.join(top, each))]
        shutil.rmtree(folder)


def seal(folder: Path) -> None:
    """Takes the right to write from a tree of files: nobody changes what was checked."""
    for top, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.chmod(os.path.join(top, name), 0o444)
        for name in folders:
            os.chmod(os.path.join(top, name), 0o555)
    os.chmod(folder, 0o555)

"""What installed packages used of what they were granted, counted so that an operator can take back the rest.

Kept beside the records of the packages and not in the truth: a truth is one kernel's, while a folder of packages serves
every kernel of a user, those too that live for one command. Counters are added to the file now and then, and when the
kernel ends: one that is killed loses the last seconds' worth.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, final

import msgspec
import trio

from kernel.capability import Capability
from kernel.clock import Clock
from kernel.packages import Package, Packages
from kernel.process import Process
from kernel.workers.launch import folders_of
from syscalls.package import USED, Use, Uses, read_uses, write_json
from syscalls.rights import Right, parse_rights

KEEP_S: Final = 2.0
DENIED_MAX: Final = 64
"""Rights remembered for a package that it lacked."""


@final
class PackageUse:
    """Counts; `run` in the background, always; `keep` at the end."""

    def __init__(self, packages: Packages, clock: Clock) -> None:
        self._packages = packages
        self._clock = clock
        self._used: dict[tuple[str, str], int] = {}
        self._shown: dict[tuple[str, str], int] = {}
        self._denied: dict[tuple[str, str], int] = {}
        self._news = trio.Event()

    def used(self, process: Process, admitted: Iterable[Capability]) -> None:
        """These let a call of the process in."""
        for capability in admitted:
            if not capability.lent:
                self._count(self._used, process.package, capability.text)

    def lacked(self, process: Process, right: Right) -> None:
        """A call of the process was refused for want of a right."""
        if len(self._denied) < DENIED_MAX or (process.package, str(right)) in self._denied:
            self._count(self._denied, process.package, str(right))

    def began(self, process: Process) -> None:
        """A worker of the package sees what its rights to read files show: how it uses that nobody counts."""
        if process.package:
            for right in process.rights:
                if folders_of((right,)):
                    self._count(self._shown, process.package, str(right))

    async def run(self) -> None:
        """Writes what was counted, a moment after; for ever."""
        while True:
            await self._news.wait()
            await trio.sleep(KEEP_S)
            self.keep()

    def keep(self) -> None:
        """Writes what was counted. What cannot be written now is with the next."""
        self._news = trio.Event()
        for name in {package for counted in (self._used, self._shown, self._denied) for package, _ in counted}:
            package = self._packages.find(name)
            if package is None or self._add(package):
                for counted in (self._used, self._shown, self._denied):
                    for key in [key for key in counted if key[0] == name]:
                        del counted[key]

    def _count(self, counted: dict[tuple[str, str], int], package: str, right: str) -> None:
        key = package, right
        counted[key] = counted.get(key, 0) + 1
        self._news.set()

    def _add(self, package: Package) -> bool:
        """Adds to the file of a package, which other kernels add to; whether that could be done."""
        folder = self._packages.folder / package.name
        try:
            lock = os.open(folder / f".{USED}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return True  # it was removed
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write(folder / USED, package)
        except OSError:
            return False
        finally:
            os.close(lock)
        return True

    def _write(self, path: Path, package: Package) -> None:
        try:
            before = read_uses(path.read_bytes())
        except (FileNotFoundError, ValueError):
            before = Uses()
        now = self._clock.unix()
        rights = dict(before.rights)
        for counted, field in ((self._used, "uses"), (self._shown, "shown")):
            for (name, text), count in counted.items():
                granted = _granted(package, text) if name == package.name else None
                if granted is not None:
                    use = rights.get(granted, Use())
                    change = {field: getattr(use, field) + count, "last": now}
                    rights[granted] = msgspec.structs.replace(use, **change)
        denied = dict(before.denied)
        for (name, text), count in self._denied.items():
            if name == package.name and (text in denied or len(denied) < DENIED_MAX):
                denied[text] = denied.get(text, 0) + count
        fresh = path.with_suffix(".new")
        fresh.write_bytes(write_json(Uses(since=before.since or now, rights=rights, denied=denied)))
        fresh.rename(path)


def _granted(package: Package, text: str) -> str | None:
    """Which of the granted rights a used one is, or was made from; None for one that was given beside the grant."""
    (right,) = parse_rights((text,))
    if right in package.rights:
        return text
    return next((str(each) for each in package.rights if each.covers(right)), None)

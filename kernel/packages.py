"""The installed packages, as the kernel sees them: which programs and tools they bring, and what they were granted.

They lie in a folder of their own beside the truth, written by `kernos pkg`, which needs no kernel; one folder serves
every kernel of a user, the ones that live for one command too. The kernel reads records and never runs code of a
package outside a worker.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import final

from msgspec.structs import replace

from syscalls.calls.process import Budget
from syscalls.errors import NotFound, PermissionDenied
from syscalls.hooks import DRIVERS
from syscalls.package import RECORD, SITE, Installed, read_record
from syscalls.rights import Right, parse_rights
from syscalls.worker_limits import WorkerLimits


@final
class Package:
    """One that is installed: its record, and where its modules lie."""

    def __init__(self, record: Installed, folder: Path) -> None:
        self.name = record.manifest.name
        self.record = record
        self.site = str(folder / record.release / SITE)
        self.rights: tuple[Right, ...] = parse_rights(record.granted)

    @property
    def budget(self) -> Budget | None:
        """What one run of a program of it may use at most, by its own word."""
        limits = self.record.manifest.limits
        budget = Budget(tokens=limits.tokens, calls=limits.calls, processes=limits.processes, wall_s=limits.wall_s)
        return None if budget == Budget() else budget

    def limited(self, ceiling: WorkerLimits) -> WorkerLimits:
        """The limits of its workers: `ceiling`, or its own word where that is less."""
        said = self.record.manifest.limits
        own = {"cpu_s": said.cpu_s, "memory_bytes": None if said.memory_mib is None else said.memory_mib << 20}
        less = {
            field: amount
            for field, amount in own.items()
            for most in [getattr(ceiling, field)]
            if amount is not None and (most is None or amount < most)
        }
        return replace(ceiling, **less)

    @property
    def programs(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(sorted(self.record.manifest.programs))

    def program(self, name: str) -> str:
        """The reference of one of its programs; with no name the only one, or `main`. Raises NotFound (ENOENT)."""
        programs = self.record.manifest.programs
        if not name and len(programs) == 1:
            return next(iter(programs.values()))
        found = programs.get(name or "main")
        if found is None:
            known = ", ".join(f"{self.name}:{each}" for each in sorted(programs)) or "none"
            raise NotFound(f"package {self.name} has no program {name or 'main'!r}; it has: {known}")
        return found


@final
class Packages:
    """All of them, by name, as they were when last looked at. `tell` hears of records that cannot be read."""

    def __init__(self, folder: Path, tell: Callable[[str, str], None]) -> None:
        self.folder = folder
        self._tell = tell
        self._known: dict[str, Package] = {}
        self.look()

    def look(self) -> None:
        """Reads all records again. What cannot be read is not installed."""
        found: dict[str, Package] = {}
        for path in sorted(self.folder.glob(f"[a-z0-9]*/{RECORD}")):
            try:
                package = Package(read_record(path.read_bytes()), path.parent)
                if package.name != path.parent.name:
                    raise ValueError(f"it is the record of {package.name}")
            except (OSError, ValueError) as bad:
                self._tell(path.parent.name, str(bad))
            else:
                found[package.name] = package
        self._known = found

    def all(self) -> list[Package]:
        """By name."""
        return [self._known[name] for name in sorted(self._known)]

    def driver(self, name: str) -> tuple[str, str] | None:
        """The reference and the folder of a package's driver; None where no package brings it: kernos's own environment
        comes first. Raises PermissionDenied (EPERM) where the word of trust is missing."""
        found = next((each for each in self.all() if name in each.record.manifest.drivers), None)
        if found is None or any(entry.name == name for entry in entry_points(group=DRIVERS)):
            return None
        if not found.record.trusted:
            raise PermissionDenied(
                f"driver {name} of package {found.name} would run outside the sandbox, and nobody said that it may: "
                f"'kernos pkg install --trust' does"
            )
        return found.record.manifest.drivers[name], found.site

    def find(self, name: str) -> Package | None:
        """The package of that name, if it is there."""
        return self._known.get(name)

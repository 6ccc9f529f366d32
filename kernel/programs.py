"""Which programs there are, by name and by file."""

import importlib.metadata
import os
from typing import final

from msgspec import Struct

from kernel.packages import Packages
from syscalls.errors import Invalid, NotFound

PROGRAMS_GROUP = "kernos.programs"


@final
class Image(Struct, frozen=True):
    """What to load: `MODULE:NAME`, or NAME in a file of the host that the worker sees. Of an installed package, its
    name, and the folder that the worker has on its path."""

    program: str
    file: str | None = None
    package: str = ""
    site: str = ""


@final
class Programs:
    """Those that came with kernos or its environment, those of kernos.toml, and as `PACKAGE:PROGRAM` those of installed
    packages. All are looked through again for a name that is not known yet: to look takes milliseconds, and is not done
    for every spawn."""

    def __init__(self, configured: dict[str, str], packages: Packages) -> None:
        self._configured = configured
        self._packages = packages
        self._packaged: dict[str, str] | None = None

    def image(self, program: str) -> Image:
        """Finds a program by name or by file. Raises NotFound (ENOENT) listing the installed ones, Invalid for a bad
        path."""
        if program.startswith("/"):
            return _in_file(program)
        known = self._configured.get(program) or (self._packaged or {}).get(program)
        if known is not None:
            return Image(known)
        image = self._of_package(program)
        if image is not None:
            return image
        installed = self.installed()
        if program in installed:
            return Image(installed[program])
        self._packages.look()
        image = self._of_package(program)
        if image is not None:
            return image
        packaged = (f"{each.name}:{name}" for each in self._packages.all() for name in each.programs)
        names = sorted([*installed, *packaged])
        raise NotFound(f"no program {program!r}; installed: {', '.join(names) or 'none'}")

    def _of_package(self, program: str) -> Image | None:
        name, _, entry = program.partition(":")
        package = self._packages.find(name)
        if package is None:
            return None
        return Image(package.program(entry), package=name, site=package.site)

    def installed(self) -> dict[str, str]:
        """Programs by name, as they are now."""
        self._packaged = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=PROGRAMS_GROUP)}
        return {**self._packaged, **self._configured}


def _in_file(program: str) -> Image:
    path, colon, name = program.rpartition(":")
    if not colon:
        raise Invalid(f"{program!r}: write /absolute/file.py:NAME (an empty NAME takes the only program in it)")
    if not os.path.isfile(path):
        raise NotFound(f"{path}: no such file")
    return Image(name, path)

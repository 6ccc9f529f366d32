"""Which programs there are, by name and by file."""

import importlib.metadata
import os
from typing import final

from msgspec import Struct

from syscalls.errors import Invalid, NotFound

PROGRAMS_GROUP = "kernos.programs"


@final
class Image(Struct, frozen=True):
    """What to load: `MODULE:NAME`, or NAME in a file of the host that the worker sees."""

    program: str
    file: str | None = None


@final
class Programs:
    """Those of installed packages, then those of kernos.toml. Packages are looked through again for a name that is not
    known yet: to look takes milliseconds, and is not done for every spawn."""

    def __init__(self, configured: dict[str, str]) -> None:
        self._configured = configured
        self._packaged: dict[str, str] | None = None

    def image(self, program: str) -> Image:
        """Finds a program by name or by file. Raises NotFound (ENOENT) listing the installed ones, Invalid for a bad
        path."""
        if program.startswith("/"):
            return _in_file(program)
        known = self._configured.get(program) or (self._packaged or {}).get(program)
        if known is not None:
            return Image(known)
        installed = self.installed()
        if program not in installed:
            raise NotFound(f"no program {program!r}; installed: {', '.join(sorted(installed)) or 'none'}")
        return Image(installed[program])

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

"""Installed extensions, and how those that an operator trusts are loaded: found by entry points, called by pluggy.

To look for them imports nothing of theirs. An extension is trusted by its name together with where that word is kept,
and by nothing else: to be installed is no trust.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Any, final

import pluggy
from msgspec import Struct

from syscalls.errors import Invalid, NotFound
from syscalls.hooks import EXTENSIONS, PROJECT, Hooks


@final
class Extension(Struct, frozen=True, kw_only=True):
    """One that is installed: its name, what to import (`MODULE` or `MODULE:ATTRIBUTE`), the package that brings it, and
    the folder of that package's own environment ("" for kernos's)."""

    name: str
    value: str
    package: str = ""
    version: str = ""
    folder: str = ""

    def __str__(self) -> str:
        return f"extension {self.name} of {self.package or '?'} {self.version}".rstrip()


@final
class Trust(Struct, frozen=True, kw_only=True):
    """A word of trust: which extension, where the word is kept, and the folder of its package ("" for kernos's own
    environment)."""

    name: str
    record: str
    folder: str = ""


@final
class Loaded:
    """A trusted extension whose code was imported. `call(HOOK)` is what it answers, () where it has no such hook."""

    def __init__(self, extension: Extension, trust: Trust, hooks: pluggy.HookRelay) -> None:
        self.extension = extension
        self.trust = trust
        self._hooks = hooks

    def call(self, hook: str) -> tuple[Any, ...]:
        """Raises Invalid for whatever goes wrong in it."""
        caller: Callable[[], list[Any]] = getattr(self._hooks, hook)
        try:
            return tuple(each for answer in caller() for each in answer)
        except Exception as failed:
            raise _unloadable(self.extension, self.trust, failed) from failed


def installed(folder: str = "") -> dict[str, Extension]:
    """By name, those of kernos's own environment or of a package's."""
    found = metadata.distributions(path=[folder]) if folder else metadata.distributions()
    return {
        entry.name: Extension(
            name=entry.name, value=entry.value, package=each.name, version=each.version, folder=folder
        )
        for each in found
        for entry in each.entry_points
        if entry.group == EXTENSIONS
    }


def load(trusted: Iterable[Trust]) -> tuple[Loaded, ...]:
    """Imports what is trusted and nothing else. Raises NotFound (ENOENT) for one that is not installed, Invalid for one
    that cannot be imported or implements a hook that there is not."""
    there: dict[str, Mapping[str, Extension]] = {}
    loaded = []
    for trust in trusted:
        if trust.folder not in there:
            there[trust.folder] = installed(trust.folder)
        loaded.append(_load(trust, there[trust.folder]))
    return tuple(loaded)


def _load(trust: Trust, there: Mapping[str, Extension]) -> Loaded:
    extension = there.get(trust.name)
    if extension is None:
        known = ", ".join(sorted(there)) or "none"
        raise NotFound(
            f"{trust.record} trusts the extension {trust.name!r}, which is not installed; there are: {known}"
        )
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(_imported(extension), name=extension.name)
        manager.check_pending()
    except Exception as failed:
        raise _unloadable(extension, trust, failed) from failed
    return Loaded(extension, trust, manager.hook)


def _imported(extension: Extension) -> Any:
    """A package's folder comes last on the path: it hides nothing of ours. A function is one of its module's hooks, and
    stands for them all."""
    if extension.folder and extension.folder not in sys.path:
        sys.path.append(extension.folder)
    module, _, attributes = extension.value.partition(":")
    found: Any = importlib.import_module(module)
    for part in filter(None, attributes.split(".")):
        found = getattr(found, part)
    return importlib.import_module(module) if inspect.isfunction(found) else found


def _unloadable(extension: Extension, trust: Trust, failed: Exception) -> Invalid:
    why = f"{type(failed).__name__}: {failed}"
    return Invalid(f"{extension} cannot be loaded ({why}): mend it, or take it out of {trust.record}")

"""Installed extensions, and how those that an operator trusts are loaded: found by entry points or as packages, called
by pluggy.

To look for them imports nothing of theirs. The word of trust is a name in kernos.toml (for what pip installed beside
kernos), or stands in the record of a package (`kernos pkg install --trust`), and nothing else: to be installed is no
trust.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from typing import Any, Final, final

import pluggy
from msgspec import Struct

from syscalls.errors import Invalid, NotFound
from syscalls.hooks import EXTENSIONS, PROJECT, Hooks
from syscalls.package import Installed

HOOKS: Final = {
    "policies": ("kernos_scheduling_policies", "kernos_eviction_policies"),
    "sources": ("kernos_model_sources",),
    "commands": ("kernos_commands",),
}
"""What each kind of extension of a manifest may bring; a driver is loaded by its host."""
_ALL: Final = tuple(hook for hooks in HOOKS.values() for hook in hooks)


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
class Trusted(Struct, frozen=True, kw_only=True):
    """An extension with the word for it: where that is kept, and which hooks it was given for."""

    extension: Extension
    record: str
    hooks: tuple[str, ...] = _ALL


@final
class Loaded:
    """A trusted extension whose code was imported. `call(HOOK)` is what it answers, () where it has no such hook or is
    not trusted with it."""

    def __init__(self, trusted: Trusted, hooks: pluggy.HookRelay) -> None:
        self.extension = trusted.extension
        self.record = trusted.record
        self._trusted = trusted
        self._hooks = hooks

    def call(self, hook: str) -> tuple[Any, ...]:
        """Raises Invalid for whatever goes wrong in it."""
        if hook not in self._trusted.hooks:
            return ()
        caller: Callable[[], list[Any]] = getattr(self._hooks, hook)
        try:
            return tuple(each for answer in caller() for each in answer)
        except Exception as failed:
            raise _unloadable(self._trusted, failed) from failed


def installed() -> dict[str, Extension]:
    """By name, those of kernos's own environment."""
    return {
        entry.name: Extension(name=entry.name, value=entry.value, package=each.name, version=each.version)
        for each in metadata.distributions()
        for entry in each.entry_points
        if entry.group == EXTENSIONS
    }


def named(names: Iterable[str], record: str) -> Iterator[Trusted]:
    """Those of kernos's own environment that `record` trusts by name. Raises NotFound (ENOENT) for one that is not
    installed."""
    wanted = tuple(names)
    there = installed() if wanted else {}
    for name in wanted:
        if name not in there:
            known = ", ".join(sorted(there)) or "none"
            raise NotFound(f"{record} trusts the extension {name!r}, which is not installed; there are: {known}")
        yield Trusted(extension=there[name], record=record)


def of_package(package: Installed, site: str, *kinds: str) -> Iterator[Trusted]:
    """What a package brings of these kinds, where the word of trust stands in its record: one for each module or object
    that it names."""
    manifest = package.manifest
    hooks: dict[str, tuple[str, ...]] = {}
    for kind in kinds:
        for reference in getattr(manifest, kind).values():
            hooks[reference] = (*hooks.get(reference, ()), *HOOKS[kind])
    for reference, allowed in hooks.items():
        if package.trusted:
            extension = Extension(
                name=manifest.name, value=reference, package=manifest.name, version=manifest.version, folder=site
            )
            yield Trusted(
                extension=extension, record=f"the packages ('kernos pkg remove {manifest.name}')", hooks=allowed
            )


def load(trusted: Iterable[Trusted]) -> tuple[Loaded, ...]:
    """Imports what is trusted and nothing else. Raises Invalid for one that cannot be imported, or implements a hook
    that there is not."""
    return tuple(map(_load, trusted))


def _load(trusted: Trusted) -> Loaded:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(_imported(trusted.extension), name=trusted.extension.name)
        manager.check_pending()
    except Exception as failed:
        raise _unloadable(trusted, failed) from failed
    return Loaded(trusted, manager.hook)


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


def _unloadable(trusted: Trusted, failed: Exception) -> Invalid:
    why = f"{type(failed).__name__}: {failed}"
    return Invalid(f"{trusted.extension} cannot be loaded ({why}): mend it, or take it out of {trusted.record}")

"""How a driver's name becomes a driver: entry points first, then the ones that ship, then MODULE:ATTRIBUTE."""

from importlib import import_module
from importlib.metadata import entry_points
from inspect import isfunction
from typing import Any, cast

import pluggy

from syscalls.errors import Invalid, NotFound
from syscalls.hooks import DRIVERS, PROJECT, Driver, Hooks

SHIPPED = {
    "torch": "drivers.torch_model",
    "openai": "drivers.openai_http",
    "sim": "drivers.sim",
    "chroma": "drivers.chroma_store",
    "memory": "drivers.memory_store",
    "minilm": "drivers.minilm",
    "hash": "drivers.minilm",
    "files": "drivers.files",
    "fetch": "drivers.fetch",
    "sites": "drivers.sites",
}
"""The same as in pyproject.toml, for a tree that is not installed."""


def names() -> tuple[str, ...]:
    """Every driver that can be named here."""
    return tuple(sorted(SHIPPED.keys() | {entry.name for entry in entry_points(group=DRIVERS)}))


def load(name: str) -> Driver:
    """The driver `name`. Raises NotFound that lists what there is, Invalid for a plugin that brings no driver;
    whatever importing it raises passes through."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    manager.register(_plugin(name))
    driver = manager.hook.kernos_driver()
    if driver is None:
        raise Invalid(f"{name} brings no driver: it needs a @hookimpl function kernos_driver, see syscalls/hooks.py")
    return cast(Driver, driver)


def _plugin(name: str) -> Any:
    for entry in entry_points(group=DRIVERS, name=name):
        return entry.load()
    if name in SHIPPED:
        return import_module(SHIPPED[name])
    module, colon, attribute = name.partition(":")
    if not colon:
        raise NotFound(f"no driver {name!r}: there are {', '.join(names())}, or name one as MODULE:ATTRIBUTE")
    found: Any = import_module(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return import_module(module) if isfunction(found) else found  # one of a module's hooks stands for them all

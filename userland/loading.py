"""From `MODULE:NAME` to a program or tools, inside the jail: this is where untrusted code is imported."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from syscalls.errors import Invalid, NotFound
from userland.sdk.program import Program, Tool


def load_program(ref: str, file: str | None) -> Program:
    """The program that `ref` names. Without a name (`file.py:`) the only one of the module, or the one called `main`.

    Raises NotFound (ENOENT) that lists what is there, and whatever the module raises while it is imported.
    """
    module, name = _module(ref, file)
    if not name:
        return _only_program(module)
    found = getattr(module, name, None)
    if isinstance(found, Program):
        return found
    if inspect.iscoroutinefunction(found):
        return Program(found)
    names = ", ".join(_programs(module)) or "none"
    raise NotFound(f"{module.__name__} has no program {name!r}: it has {names}; put @program above an async function")


def see_packages(folders: Sequence[str]) -> None:
    """Puts folders of installed packages on sys.path: behind the library, before what the kernel's environment has.

    What the worker has imported by then (the SDK, and what that stands on) stays as it is."""
    fresh = [folder for folder in folders if folder not in sys.path]
    at = next((n for n, entry in enumerate(sys.path) if entry.endswith("-packages")), len(sys.path))
    sys.path[at:at] = fresh


def load_tools(ref: str, file: str | None) -> dict[str, Tool]:
    """The tools that `ref` names: one function, or with `*` or no name all of the module."""
    module, name = _module(ref, file)
    if name in ("", "*"):
        found = {tool.name: tool for tool in vars(module).values() if isinstance(tool, Tool)}
        if found:
            return found
        raise NotFound(f"{module.__name__} has no tools: put @tool above a function")
    one = getattr(module, name, None)
    if isinstance(one, Tool):
        return {one.name: one}
    raise NotFound(f"{module.__name__} has no tool {name!r}: put @tool above the function")


def load_function(ref: str) -> Callable[..., Any]:
    """The function that `ref` names: a parser is a plain one. Raises NotFound, and what its module raises."""
    module, name = _module(ref, None)
    found = getattr(module, name, None)
    if callable(found):
        return cast(Callable[..., Any], found)
    raise NotFound(f"{module.__name__} has no function {name!r}")


def _module(ref: str, file: str | None) -> tuple[ModuleType, str]:
    module, colon, name = ref.rpartition(":")
    if file is not None:
        return _load_file(Path(file)), "" if "/" in name else name
    if not colon:
        raise Invalid(f"{ref!r} does not say which program: write MODULE:NAME")
    try:
        return importlib.import_module(module), name
    except ModuleNotFoundError as missing:
        if missing.name is not None and (module + ".").startswith(missing.name + "."):
            raise NotFound(f"there is no module {missing.name!r} in this worker's environment") from None
        raise


def _load_file(path: Path) -> ModuleType:
    """Imports the file under a name of its own, with its folder on sys.path as `python FILE` has it."""
    key = f"program_{path.stem}_{abs(hash(str(path))):x}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    if spec is None or spec.loader is None:
        raise Invalid(f"{path} is no Python file: its name must end in .py")
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as failed:
        del sys.modules[key]
        if isinstance(failed, FileNotFoundError) and failed.filename == str(path):
            raise NotFound(f"{path} is not there, or this worker may not see it") from None
        raise
    return module


def _programs(module: ModuleType) -> dict[str, Program]:
    return {
        name: found
        for name, found in vars(module).items()
        if isinstance(found, Program) and found.function.__module__ == module.__name__
    }


def _only_program(module: ModuleType) -> Program:
    found = _programs(module)
    if len(found) == 1:
        return next(iter(found.values()))
    if "main" in found:
        return found["main"]
    if not found:
        raise NotFound(f"{module.__name__} has no program: put @program above an async function")
    raise NotFound(f"{module.__name__} has several programs ({', '.join(found)}): say which, as FILE:NAME")

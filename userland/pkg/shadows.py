"""Which names a package may not have for its modules: they would stand before those that a worker runs on."""

import sys
from collections.abc import Iterable
from typing import Final

PROVIDED: Final = frozenset({"kernos", "trio", "anyio", "msgspec", "sniffio", "outcome"})
"""Distributions that every worker has already: what depends on them gets these, and locks none."""
_OURS: Final = frozenset(
    {"kernel", "syscalls", "drivers", "userland", "sandbox", "kernos", "trio", "anyio", "msgspec", "sniffio", "outcome"}
)
_AT_START: Final = frozenset({"sitecustomize", "usercustomize"})


def check_top_levels(names: Iterable[str], dist_info: str) -> None:
    """Raises ValueError for a module that would hide one of Python's or kernos's, and for what would run, or be put,
    elsewhere: `.pth` files, scripts and data."""
    for name in names:
        top, slash, _ = name.partition("/")
        if top == dist_info:
            continue
        if slash and top.endswith(".data"):
            raise ValueError(f"{name!r}: scripts, headers and data beside the modules are not installed")
        if not slash and top.endswith((".pth", ".egg-link")):
            raise ValueError(f"{name!r} would run, or add a path, when Python starts")
        module = (top if slash else top.partition(".")[0]).casefold()
        if module in _OURS or module in _AT_START or module in sys.stdlib_module_names:
            raise ValueError(f"{name!r} would stand before a module of Python or of kernos: rename it")

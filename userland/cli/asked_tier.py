"""Which tier a program in a file asks for, read from its source: nothing of it is run here."""

import ast
from pathlib import Path
from typing import Any, cast, get_args

from syscalls.calls.process import Tier
from userland.cli.failures import USAGE, Failure

_TIERS = get_args(Tier)


def asked_tier(file: Path, name: str) -> Tier:
    """What `@program(tier=…)` says above the program that is run: the one of that `name`, else the only one or `main`.
    Of a file that cannot be read so the plain one: whoever loads it says what is wrong. Raises Failure for a tier that
    is none, or is not written out."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return "pure"
    programs = {
        node.name: said
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef)
        for said in [_decorated(node)]
        if said is not None
    }
    chosen = name or (next(iter(programs)) if len(programs) == 1 else "main")
    said = programs.get(chosen)
    tier = None if said is None else next((word.value for word in said.keywords if word.arg == "tier"), None)
    if tier is None:
        return "pure"
    if not isinstance(tier, ast.Constant):
        raise Failure(f"{file.name}:{chosen} works out its tier: say --tier, or write it as one of {_words()}", USAGE)
    if tier.value not in _TIERS:
        raise Failure(f"{file.name}:{chosen} asks for the tier {tier.value!r}; there are {_words()}", USAGE)
    return cast(Tier, tier.value)


def _decorated(node: ast.AsyncFunctionDef) -> ast.Call | None:
    """The call of `program` above a function; one without words stands for the bare decorator."""
    for each in node.decorator_list:
        called = each.func if isinstance(each, ast.Call) else each
        found: Any = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
        if found == "program":
            return each if isinstance(each, ast.Call) else ast.Call(func=each, args=[], keywords=[])
    return None


def _words() -> str:
    return ", ".join(_TIERS)

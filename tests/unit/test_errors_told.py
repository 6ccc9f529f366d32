"""What a handler may raise, its row tells: read from the code, as far as that can be followed.

From each handler it goes down through the functions of the kernel that it calls by name and the methods of the
machine's subsystems: every `raise X(…)` and `return X(…)` there, and every class that a docstring names after "Raises",
must stand in the row's `says.errors`, or follow from the row itself.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any, get_type_hints

import pytest

from kernel.families import handlers
from kernel.machine import Machine
from syscalls.errors import CLASS_OF, Errno, SyscallError
from syscalls.row import Row
from syscalls.table import TABLE
from userland.cli.manual import errors_of

BY_CLASS = {cls.__name__: errno for errno, cls in CLASS_OF.items()}
DEPTH_MAX = 6
SUBSYSTEMS = get_type_hints(Machine.__init__)


def called(function: Any, tree: ast.AST) -> Iterator[Any]:
    """The functions of ours that `function` calls, as far as names tell."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        target = resolve(node.func, function)
        if inspect.isfunction(target) and (target.__module__ or "").startswith("kernel"):
            yield target


def resolve(node: ast.expr, function: Any) -> Any:
    """What a name or a chain of attributes stands for: globals, modules, and `machine.SUBSYSTEM.method`."""
    if isinstance(node, ast.Name):
        return function.__globals__.get(node.id)
    if not isinstance(node, ast.Attribute):
        return None
    if isinstance(node.value, ast.Name) and node.value.id == "machine":
        return SUBSYSTEMS.get(node.attr)
    owner = resolve(node.value, function)
    if isinstance(owner, ModuleType | type):
        return inspect.getattr_static(owner, node.attr, None)
    return None


def raised(function: Any, depth: int, seen: set[Any]) -> Iterator[tuple[Errno, str]]:
    if function in seen or depth > DEPTH_MAX:
        return
    seen.add(function)
    where = f"{function.__module__}.{function.__qualname__}"
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        made = node.exc if isinstance(node, ast.Raise) else node.value if isinstance(node, ast.Return) else None
        if isinstance(made, ast.Call) and isinstance(made.func, ast.Name):
            kind = function.__globals__.get(made.func.id)
            if isinstance(kind, type) and issubclass(kind, SyscallError) and kind is not SyscallError:
                yield kind.errno, where
    told = re.search(r"Raises(.*?)(\n\s*\n|$)", inspect.getdoc(function) or "", re.DOTALL)
    for name in re.findall(r"\b[A-Z]\w+", told[1]) if told and depth else ():
        if name in BY_CLASS:
            yield BY_CLASS[name], where
    for callee in called(function, tree):
        yield from raised(callee, depth + 1, seen)


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_what_a_handler_raises_its_row_tells(row: Row) -> None:
    handler: Any = handlers()[row.number]
    told = set(errors_of(row))
    missing = {f"{errno.name} ({where})" for errno, where in raised(handler, 0, set()) if errno.name not in told}
    assert not missing, f"{row.name} may raise these, and its row does not tell: {sorted(missing)}"


def test_the_reading_sees_what_is_raised_far_below() -> None:
    found = {errno for errno, _ in raised(handlers()[0x12], 0, set())}
    assert {Errno.EQUOTA, Errno.EWINDOW, Errno.ETIME, Errno.EINVAL, Errno.ENOENT} <= found

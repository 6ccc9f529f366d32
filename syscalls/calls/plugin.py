"""The kernel family, 0xA0, continued: the system calls that installed packages add.

They are no rows of the table, which is the same everywhere. Each is called `PACKAGE.CALL` and sent by that name; its
number, from a range set aside, is this kernel's until it ends. It is served by the package's own worker in the sandbox,
with the package's rights, and with those that its caller lends it for the call: capabilities by their numbers, as the
argument LEND, which no function can have.
"""

import re
from typing import Any, Final, final

from msgspec import Raw

from syscalls.calls.device import ToolAnswer
from syscalls.errors import Errno
from syscalls.row import Args, Flag, Needs, Result, Row, Says
from syscalls.turns import ToolSpec

PLUGIN_NUMBERS: Final = range(0x1000, 0x2000)
"""Set aside: no row of the table ever has one of these."""
BY_NAME: Final = -1
"""The number of a row that is sent by its name."""
LEND: Final = "$lend"
PLUGIN_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.[a-z][a-z0-9_-]*")


@final
class ListCalls(Args, frozen=True, kw_only=True):
    """Those of `package` (None: of all)."""

    package: str | None = None


@final
class PluginCall(Result, frozen=True, kw_only=True):
    """A system call of a package: its number on this kernel, the right that it needs, and its arguments as a tool's for
    a model (a JSON Schema); where its worker cannot say, why not."""

    name: str
    number: int
    package: str
    version: str
    right: str
    spec: ToolSpec | None = None
    error: str = ""


@final
class PluginCalls(Result, frozen=True, kw_only=True):
    """All of them, by name."""

    calls: tuple[PluginCall, ...]


CALLS = Row(
    0xAA,
    "kernel.calls",
    ListCalls,
    PluginCalls,
    Needs("list", "syscall:*"),
    Flag.IDEMPOTENT,
    "The system calls that installed packages add.",
    says=Says(
        waits="For the workers that serve them to come up and say what they take.",
        errors=((Errno.ENOENT, "there is no such package."),),
    ),
)

ROWS = (CALLS,)


def plugin_row(name: str, number: int = BY_NAME) -> Row:
    """The row of a package's call. Without a number it is sent by name, as clients do that have not asked for it."""
    return Row(
        number,
        name,
        dict[str, Any] if number == BY_NAME else dict[str, Raw],
        ToolAnswer,
        Needs("call", f"syscall:{name}"),
        Flag.EFFECT,
        "A system call of an installed package.",
        says=Says(
            waits="For the package's worker, and for what it does.",
            errors=(
                (Errno.EUNKNOWN, "the worker died under the call: what it did is not known."),
                (Errno.ELIMIT, "it ran over a limit of its package's calls; it may have done part."),
            ),
        ),
    )

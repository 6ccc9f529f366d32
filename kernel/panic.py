"""A contradiction of our own: never caught below boot; and what a bug that is none costs."""

import sys
import traceback
from typing import final


@final
class KernelPanic(Exception):
    """The kernel found itself in a state that its own rules forbid; the message tells the story. Please report it."""


def contain(bug: Exception) -> str:
    """Whoever serves one call, link or process passes what it did not expect through here: the bug is shouted about
    and costs only that one. A panic, alone or in a group, is raised again. Returns a sentence for the one it cost."""
    if isinstance(bug, KernelPanic) or (isinstance(bug, ExceptionGroup) and bug.subgroup(KernelPanic)):
        raise bug
    traceback.print_exception(bug, file=sys.stderr)
    return f"{type(bug).__name__}: {bug}; please report it"


def first(error: BaseException) -> BaseException:
    """The first exception of a group, however deep; anything else is itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

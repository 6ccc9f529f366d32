"""What one row of the table is made of."""

from enum import IntFlag, auto
from functools import cache
from typing import Any, final, get_type_hints

from msgspec import Meta, Struct

from syscalls.errors import Errno
from syscalls.limits import ITEMS_MAX


class Args(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The arguments of a call: a msgpack map; unknown fields are refused."""


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A result or an item: a msgpack map; fields that a newer kernel adds are passed over."""


SECRET = Meta(extra={"secret": True}, extra_json_schema={"x-secret": True})
"""Marks a field that never enters the trace: `credential: Annotated[bytes, SECRET]`."""

MANY = Meta(max_length=ITEMS_MAX)
"""Marks a list or map of arguments: with more items they are refused before one of them becomes an object."""


@cache
def secret_fields(kind: type[Struct]) -> frozenset[str]:
    """The fields of a struct that are marked SECRET."""
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(name for name, hint in hints.items() if SECRET in getattr(hint, "__metadata__", ()))


@final
class Flag(IntFlag):
    """How the gate treats a call.

    INLINE is answered in the reader's task: it cannot wait. STREAM gives items before its result. IDEMPOTENT may be
    issued again after a crash. EFFECT changes the world outside the caller. JOURNALED is recorded for a durable
    process. SECRET has arguments and a result that never enter the trace.
    """

    INLINE = auto()
    STREAM = auto()
    IDEMPOTENT = auto()
    EFFECT = auto()
    JOURNALED = auto()
    SECRET = auto()


_INLINE = int(Flag.INLINE)
"""As a plain number: an enum takes ten times as long."""


@final
class Needs(Struct, frozen=True):
    """The right a call needs: `action` on `resource`, in which `{field}` is read from the arguments."""

    action: str
    resource: str


@final
class Says(Struct, frozen=True, kw_only=True):
    """The semantics of a call, for the manual, a sentence each. `waits`: what it waits for ("" where it never waits);
    `cancelled`: what a cancellation leaves behind; `costs`: what is charged to the caller's account ("" where it is
    only counted as a call); `errors`: what each errno means here, those that follow from the row itself left out."""

    waits: str = ""
    cancelled: str = ""
    costs: str = ""
    errors: tuple[tuple[Errno, str], ...] = ()


@final
class Row(Struct, frozen=True):
    """One system call. `needs` is None only for calls on what is the caller's own: see `FREE` in the table. `also` is a
    second right: what a handle was opened on, where using the handle is using that."""

    number: int
    name: str
    args: type[Any]
    result: type[Any] | None
    needs: Needs | None
    flags: Flag
    doc: str
    item: type[Any] | None = None
    says: Says = Says()
    also: Needs | None = None

    @property
    def streams(self) -> bool:
        return self.item is not None

    @property
    def inline(self) -> bool:
        return int.__and__(self.flags, _INLINE) != 0

"""Capabilities: the record of one, and the set of them that a process holds. The table of all is in derivation.py."""

import math
from collections.abc import Iterator, Mapping, Set
from typing import Final, Protocol, final
from weakref import WeakSet

from syscalls.errors import PermissionDenied
from syscalls.rights import Right

FOUND_MAX: Final = 512
"""Decisions remembered for one set; beyond it they are made anew."""
FOUND_CHARS_MAX: Final = 1024
"""Of the names in one of them. A caller may ask with a name of sixteen megabytes, and a set may live as long as the
kernel."""


class Table(Protocol):
    """What a set of capabilities needs of the table that they are in: `changes` counts what ended."""

    changes: int

    def expire(self) -> None: ...


class Admitted(Protocol):
    """A call under way, and the capabilities that let it in."""

    admitted: "tuple[Capability, ...]"

    @property
    def holder(self) -> "Holder": ...
    def withdraw(self, capability: "Capability", why: str) -> None: ...


class Holder(Protocol):
    """Who holds capabilities: a process."""

    held: "Held"

    @property
    def pid(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def parent(self) -> "Holder | None": ...
    @property
    def children(self) -> "Mapping[int, Holder]": ...


@final
class Capability:
    """One record. `parent` is what it was made from, `bound` the capability of its holder's parent that it needs too;
    `limited` are those, itself included, whose uses its own are counted on."""

    __slots__ = (
        "__weakref__",
        "_text",
        "alive",
        "bound",
        "calls",
        "children",
        "depth",
        "expires_s",
        "holder",
        "id",
        "lent",
        "limited",
        "parent",
        "right",
        "uses_left",
    )  # fmt: skip

    def __init__(
        self,
        id_: int,
        right: Right,
        *,
        holder: int,
        parent: "Capability | None",
        bound: "Capability | None" = None,
        expires_s: float = math.inf,
        uses: int | None = None,
        lent: bool = False,
    ) -> None:
        above = [each for each in (parent, bound) if each is not None]
        self.id = id_
        self.right = right
        self.holder = holder
        self.parent = parent
        self.bound = bound
        self.lent = lent
        self.alive = True
        self.uses_left = uses
        self.expires_s: float = min([expires_s, *(each.expires_s for each in above)])
        limited = dict.fromkeys(each for one in above for each in one.limited)
        self.limited: tuple[Capability, ...] = (*limited, self) if uses is not None else tuple(limited)
        self.depth: int = 1 + max((each.depth for each in above), default=0)
        self.children: WeakSet[Capability] | None = None
        self.calls: set[Admitted] | None = None
        self._text = ""
        for each in above:
            if each.children is None:
                each.children = WeakSet()
            each.children.add(self)

    @property
    def text(self) -> str:
        """Its right as it is written."""
        self._text = self._text or str(self.right)
        return self._text

    @property
    def plain(self) -> bool:
        """Whether nothing but a revocation ends it."""
        return not self.limited and self.expires_s == math.inf

    @property
    def usable(self) -> bool:
        """Whether it lets a call in, as far as it is known what the time is."""
        return self.alive and all(each.uses_left for each in self.limited)

    def descends_from(self, other: "Capability") -> bool:
        """Whether it is `other`, or falls with it."""
        todo: list[Capability] = [self]
        seen: set[int] = set()
        while todo:
            each = todo.pop()
            if each is other:
                return True
            if each.id not in seen:
                seen.add(each.id)
                todo += [above for above in (each.parent, each.bound) if above is not None]
        return False


@final
class Held:
    """What a process holds: a set that never changes, shared by all who hold the same; its decisions are remembered."""

    __slots__ = ("_capabilities", "_covering", "_covering_at", "_found", "_rights", "_rights_at", "_table", "_written")

    def __init__(self, table: Table, capabilities: tuple[Capability, ...]) -> None:
        self._table = table
        self._capabilities = capabilities
        self._found: dict[tuple[str, tuple[str, ...]], Capability] = {}
        self._covering: dict[Right, Capability | None] = {}
        self._covering_at = -1
        self._rights: tuple[Right, ...] = ()
        self._rights_at = -1
        self._written: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[Capability]:
        """Those that let calls in, the oldest first."""
        self._table.expire()
        return (each for each in self._capabilities if each.usable)

    def __contains__(self, capability: Capability) -> bool:
        return any(each is capability for each in self._capabilities)

    @property
    def rights(self) -> tuple[Right, ...]:
        """What they allow, each right once."""
        self._table.expire()
        if self._rights_at != self._table.changes:
            self._rights = tuple(dict.fromkeys(each.right for each in self._capabilities if each.usable))
            self._rights_at = self._table.changes
            self._written = None
        return self._rights

    @property
    def written(self) -> tuple[str, ...]:
        """The same as text."""
        rights = self.rights
        if self._written is None:
            self._written = tuple(map(str, rights))
        return self._written

    def find(self, action: str, names: tuple[str, ...]) -> Capability | None:
        """The capability that allows `action` on what goes by any of `names`; one without limits before one with."""
        known = self._found.get((action, names))
        if known is not None and known.alive:
            return known
        limited: Capability | None = None
        for each in self:
            if any(each.right.allows(action, name) for name in names):
                if each.plain:
                    self._remember(action, names, each)
                    return each
                limited = limited or each
        return limited

    def _remember(self, action: str, names: tuple[str, ...], found: Capability) -> None:
        if sum(map(len, names)) > FOUND_CHARS_MAX:
            return
        if len(self._found) >= FOUND_MAX:
            self._found.clear()
        self._found[action, names] = found

    def among(self, capabilities: Set[Capability]) -> list[Capability]:
        """Those of it that are among `capabilities`."""
        return [each for each in self._capabilities if each in capabilities]

    def exchanged(self, new: Mapping[Capability, Capability]) -> "Held":
        """The same, with what is `new` for what was before, and without what is dead."""
        return Held(self._table, tuple(new.get(each, each) for each in self._capabilities if each.alive))

    def covering(self, right: Right) -> Capability | None:
        """The capability from which `right` can be made; one without limits before one with, then the longest."""
        self._table.expire()
        if self._covering_at != self._table.changes or len(self._covering) >= FOUND_MAX:
            self._covering.clear()
            self._covering_at = self._table.changes
        if right not in self._covering:  # a thousand equal children ask for the same
            fit = [each for each in self if each.right.covers(right)]
            best = max(fit, key=lambda each: (each.plain, not each.limited, each.expires_s), default=None)
            self._covering[right] = best
        return self._covering[right]


def lacking(holder: Holder, right: Right, sentence: str) -> PermissionDenied:
    """The refusal for want of `right`, with how to grant it."""
    return PermissionDenied(f"{sentence} lacks: {how_to_grant(holder, right)}")


def how_to_grant(holder: Holder, right: Right) -> str:
    """What grants `right` to `holder`, the next time and while it lives. A session has the rights of what its client
    showed, and that of one command is gone when its refusal is read."""
    now = f"kernos grant {holder.pid} '{right}'"
    match holder.kind:
        case "session":
            return (
                f"it comes with a credential or certificate that does not give it: get one made with --allow '{right}' "
                f"(kernos credential new, kernos cert issue); a session that lasts can be granted it with: {now}"
            )
        case "tool":
            return f'grant it in [tools.{holder.name}] of kernos.toml: rights = ["{right}"]; or now with: {now}'
        case _:
            return f"grant it with --allow '{right}', or now with: {now}"

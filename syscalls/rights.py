"""Rights: actions on a resource pattern, how they are written, and which covers which.

Written `RESOURCE` for every action or `RESOURCE ACTION,ACTION`; `*` stands for anything up to the next `/`, `**` for
anything at all:
`**`, `model:*`, `tool:calculator.* call`, `file:/srv/docs/** read`, `process:children kill,wait`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Self, final

from msgspec import Struct

from syscalls.errors import Invalid

ANY = "*"
_SHAPE = re.compile(r"(?P<resource>\*\*|[a-z]+:\S+)(?: (?P<actions>\*|[a-z]+(?:,[a-z]+)*))?")
_STAR, _STARS = "\x01", "\x02"


@final
class Right(Struct, frozen=True, order=True):
    """May do `actions` (sorted; `("*",)` is every action) on what `resource` matches."""

    resource: str
    actions: tuple[str, ...] = (ANY,)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the written form. Raises Invalid (EINVAL) with an example for anything else."""
        found = _SHAPE.fullmatch(text.strip())
        if found is None:
            raise Invalid(f"{text!r} is no right: write RESOURCE or 'RESOURCE ACTION,…', as in 'model:* generate'")
        actions = tuple(sorted(set((found["actions"] or ANY).split(","))))
        return cls(found["resource"], (ANY,) if ANY in actions else actions)

    def __str__(self) -> str:
        return self.resource if self.actions == (ANY,) else f"{self.resource} {','.join(self.actions)}"

    def allows(self, action: str, resource: str) -> bool:
        """Whether this right lets its holder do `action` on the concrete `resource`."""
        return (ANY in self.actions or action in self.actions) and bool(_pattern(self.resource).fullmatch(resource))

    def covers(self, other: "Right") -> bool:
        """Whether whatever `other` allows, this allows too (sound; says no where it cannot tell)."""
        if ANY not in self.actions and not set(other.actions) <= set(self.actions):
            return False
        literal = other.resource.replace("**", _STARS).replace("*", _STAR)
        return bool(_pattern(self.resource).fullmatch(literal))


@lru_cache(maxsize=4096)
def _pattern(resource: str) -> re.Pattern[str]:
    """`*` is any run without `/`; a wildcard of a narrower right counts as a character that only a wildcard as wide
    matches."""
    parts = re.split(r"(\*\*|\*)", resource)
    wild = {"**": "[\\s\\S]*", "*": f"[^/{_STARS}]*"}
    return re.compile("".join(wild.get(part, re.escape(part)) for part in parts))


def parse_rights(texts: Iterable[str]) -> tuple[Right, ...]:
    """Each written right once, sorted."""
    return tuple(sorted({Right.parse(text) for text in texts}))


def uncovered(asked: Iterable[Right], held: Iterable[Right]) -> tuple[Right, ...]:
    """The rights of `asked` that no single right of `held` covers: empty means `asked` is no more than `held`."""
    have = tuple(held)
    return tuple(right for right in asked if not any(mine.covers(right) for mine in have))


def allowed(held: Iterable[Right], action: str, resources: Iterable[str]) -> Right | None:
    """The first right of `held` that allows `action` on any of the names that one resource goes by, or None."""
    names = tuple(resources)
    for right in held:
        if any(right.allows(action, name) for name in names):
            return right
    return None

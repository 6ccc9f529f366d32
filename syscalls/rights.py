"""Rights: actions on a resource pattern, how they are written, and which covers which.

Written `RESOURCE` for every action or `RESOURCE ACTION,ACTION`; `*` stands for anything up to the next `/`, `**` for
anything at all: `**`, `model:*`, `tool:calculator.* call`, `file:/srv/docs/** read`, `process:children kill,wait`.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Self, final

from msgspec import Struct

from syscalls.errors import Invalid

ANY = "*"
EVERYTHING = "**"
TEXT_CHARS_MAX = 1024
"""Of one written right."""
NAME_CHARS_MAX = 8192 + 256
"""Of a resource that a call names, the longest URL included: it is compared with rights and told in errors."""
_SHAPE = re.compile(r"(?P<resource>\*\*|[a-z]+:[^\s\x00-\x1f\x7f]+)(?: (?P<actions>\*|[a-z]+(?:,[a-z]+)*))?")
_WEB = re.compile(r"net:(?:https?|\*)://(?:(?!\*\*)[a-z0-9_.:*-]|\[[0-9a-f:.]+\])+/.*")
_TCP = re.compile(r"net:tcp:(?:(?!\*\*)[a-z0-9_.*-]|\[[0-9a-f:.]+\])+:(?:[0-9]{1,5}|\*)")
_CROOKED = re.compile(r"//|/\.{1,2}(?:/|$)")
_STAR, _STARS = "\x01", "\x02"
WHOLE = _STARS
"""In a name: all that could stand there. Only a wildcard as wide covers it."""


@final
class Right(Struct, frozen=True, order=True):
    """May do `actions` (sorted; `("*",)` is every action) on what `resource` matches."""

    resource: str
    actions: tuple[str, ...] = (ANY,)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads the written form. Raises Invalid (EINVAL) with an example for anything else.

        A file's path must be plain, without `.` and `..`: a right below `/srv` is one to what lies below `/srv`."""
        found = _SHAPE.fullmatch(text.strip()) if len(text) <= TEXT_CHARS_MAX else None
        if found is not None and found["resource"].startswith("file:") and _CROOKED.search(found["resource"]):
            raise Invalid(f"{text!r} is no right: write the path out, without '.', '..' and '//'")
        if found is not None and "://" in found["resource"]:
            _check_web(text, found["resource"], found["actions"])
        if found is not None and found["resource"].startswith("net:tcp:"):
            _check_tcp(text, found["resource"], found["actions"])
        if found is None:
            raise Invalid(f"{text!r} is no right: write RESOURCE or 'RESOURCE ACTION,…', as in 'model:* generate'")
        actions = tuple(sorted(set((found["actions"] or ANY).split(","))))
        return cls(found["resource"], (ANY,) if ANY in actions else actions)

    def __str__(self) -> str:
        if self.actions == (ANY,) and "://" not in self.resource and not self.resource.startswith("net:tcp:"):
            return self.resource
        return f"{self.resource} {','.join(self.actions)}"

    def allows(self, action: str, resource: str) -> bool:
        """Whether this right lets its holder do `action` on the concrete `resource`."""
        actions = self.actions
        return (action in actions or ANY in actions) and (
            self.resource == EVERYTHING or _matches(self.resource, resource)
        )

    def covers(self, other: "Right") -> bool:
        """Whether whatever `other` allows, this allows too (sound; says no where it cannot tell)."""
        if ANY not in self.actions and not set(other.actions) <= set(self.actions):
            return False
        literal = other.resource.replace("**", _STARS).replace("*", _STAR)
        return _matches(self.resource, literal)

    @property
    def loose(self) -> bool:
        """Whether it has a wildcard in its midst: to match it is a walk along the name, in Python's own steps."""
        return _is_loose(self.resource)

    def overlaps(self, other: "Right") -> bool:
        """Whether there is anything that both allow."""
        acts = ANY in self.actions or ANY in other.actions or bool(set(self.actions) & set(other.actions))
        return acts and _cross(_tokens(self.resource), _tokens(other.resource))


def _check_web(text: str, resource: str, actions: str | None) -> None:
    """A right to the web says how far it goes: a wildcard in the host stays in it, and what is meant by every action,
    private addresses among it, is written."""
    if not _WEB.fullmatch(resource):
        raise Invalid(f"{text!r} is no right: in small letters, with a path, as in 'net:https://*.example.com/** get'")
    if actions is None:
        raise Invalid(
            f"{text!r} is no right: name the methods, as in '{resource} get,post' ('*' for whatever there is)"
        )


def _check_tcp(text: str, resource: str, actions: str | None) -> None:
    """As for the web: host and port are written, and whether private addresses are meant."""
    if not _TCP.fullmatch(resource):
        raise Invalid(f"{text!r} is no right: write host and port, as in 'net:tcp:*.example.com:443 connect'")
    if actions is None:
        raise Invalid(f"{text!r} is no right: write '{resource} connect', or 'connect,private' for private addresses")


def _matches(pattern: str, name: str) -> bool:
    """Whether `name` is as `pattern` says, in a time that grows with neither's ill will: see `_Globs`."""
    return bool((_walker if _is_loose(pattern) else _matcher)(pattern)(name))


@lru_cache(maxsize=4096)
def _matcher(pattern: str) -> Callable[[str], object]:
    """A wildcard at the end, or none, is a regular expression that cannot backtrack."""
    stem = pattern.rstrip("*")
    return _regular(stem, len(pattern) - len(stem)).fullmatch


@lru_cache(maxsize=256)
def _walker(pattern: str) -> Callable[[str], object]:
    """For any other. Fewer are remembered: one may take two hundred kilobytes, and a program that holds a wildcard can
    make as many as it likes, and give them up."""
    return _Globs(pattern).accepts


def _is_loose(pattern: str) -> bool:
    stem = pattern.rstrip("*")
    return "*" in stem or len(pattern) - len(stem) > 2


def _regular(stem: str, stars: int) -> re.Pattern[str]:
    """A wildcard of a narrower right counts as a character that only a wildcard as wide matches."""
    return re.compile(re.escape(stem) + ("", f"[^/{_STARS}]*", r"[\s\S]*")[stars])


@final
class _Globs:
    """Every place in a pattern at which a name may be, at once, as the bits of one number: a regular expression with
    several wildcards would try them one after another, and a right that a program writes could hold up the kernel."""

    def __init__(self, pattern: str) -> None:
        tokens = _tokens(pattern)
        self._end = 1 << len(tokens)
        self._stars = sum(1 << at for at, token in enumerate(tokens) if token == "*")
        self._wild = sum(1 << at for at, token in enumerate(tokens) if token[0] == "*")
        self._literal: dict[str, int] = {}
        for at, token in enumerate(tokens):
            if token[0] != "*":
                self._literal[token] = self._literal.get(token, 0) | 1 << at

    def accepts(self, name: str) -> bool:
        """Whether the whole of `name` leads from the start to the end; no name that is too long does."""
        if len(name) > NAME_CHARS_MAX:
            return False
        here = self._past(1)
        for char in name:
            stay = self._wild if char not in ("/", _STARS) else self._wild & ~self._stars
            here = self._past((here & stay) | (here & self._literal.get(char, 0)) << 1)
            if not here:
                return False
        return bool(here & self._end)

    def _past(self, here: int) -> int:
        """A wildcard may be nothing; two never stand side by side."""
        return here | (here & self._wild) << 1


def _tokens(pattern: str) -> list[str]:
    """The characters and wildcards of a pattern."""
    return [part for part in re.split(r"(\*+|[^*])", pattern) if part]


def _cross(one: list[str], other: list[str]) -> bool:
    """Whether some name matches both patterns. `here` are the places in `other` at which a name may be that has come
    to a place in `one`, as the bits of one number: so it takes one step for each token of `one`, whoever wrote them."""
    stars = sum(1 << at for at, token in enumerate(other) if token[0] == "*")
    doubles = sum(1 << at for at, token in enumerate(other) if token[:2] == "**")
    literal: dict[str, int] = {}
    for at, token in enumerate(other):
        if token[0] != "*":
            literal[token] = literal.get(token, 0) | 1 << at
    everything = (1 << len(other)) - 1
    here = _along(1, stars)
    for token in one:
        if token[0] == "*":
            here = _along(here, everything if token[:2] == "**" else everything & ~literal.get("/", 0))
        else:
            here = _along((here & literal.get(token, 0)) << 1 | here & (doubles if token == "/" else stars), stars)
    return bool(here >> len(other))


def _along(here: int, through: int) -> int:
    """From each place on over the places of `through` that follow it without a gap."""
    return here | (through + (here & through)) ^ through


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
        for name in names:
            if right.allows(action, name):
                return right
    return None


def meet(some: Iterable[Right], others: Iterable[Right]) -> tuple[Right, ...]:
    """What both allow, as rights: sound; where neither of two patterns lies within the other it gives nothing."""
    theirs = tuple(others)
    both = (_meet(mine, right) for mine in some for right in theirs)
    return tuple(sorted({right for right in both if right is not None}))


def _meet(one: Right, other: Right) -> Right | None:
    if ANY in one.actions:
        actions = other.actions
    elif ANY in other.actions:
        actions = one.actions
    else:
        actions = tuple(action for action in one.actions if action in other.actions)
    for narrow, wide in ((one, other), (other, one)):
        if actions and Right(wide.resource).covers(Right(narrow.resource)):
            return Right(narrow.resource, actions)
    return None

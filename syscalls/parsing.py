"""Parsers of documents, as the manifests of packages name them: which function makes text of which files."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, final

from msgspec import Struct

from syscalls.limits import MIB

DOCUMENT_BYTES_MAX: Final = 15 * MIB
"""Of what a parser is given: with what goes along it fits one argument."""
KINDS_MAX: Final = 16
PLAIN: Final = frozenset({".txt", ".text", ".md", "text/plain", "text/markdown"})
"""What is text as it is, and has no parser."""

_SUFFIX = re.compile(r"\.[a-z0-9](?:[a-z0-9+_.-]{0,14}[a-z0-9])?")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")


@final
class Parser(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A parser of a package: `parse`, `MODULE:NAME`, is a function that is given the bytes of a file and returns its
    text. It is for files whose names end in one of `suffixes`, and for what is of one of the media `types`.

    Raises ValueError for what makes no sense."""

    parse: str
    suffixes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < len(self.kinds) <= KINDS_MAX:
            raise ValueError(f"say which files it is for: suffixes or types, {KINDS_MAX} at most")
        for suffix in self.suffixes:
            if not _SUFFIX.fullmatch(suffix):
                raise ValueError(f"{suffix!r} is no suffix: write it small, with its dot, as in '.html'")
        for kind in self.types:
            if not _TYPE.fullmatch(kind):
                raise ValueError(f"{kind!r} is no media type: write it small, as in 'text/html'")
        plain = [kind for kind in self.kinds if kind in PLAIN]
        if plain:
            raise ValueError(f"{plain[0]} is text as it is, and needs no parser")

    @property
    def kinds(self) -> tuple[str, ...]:
        """All that it is for."""
        return (*self.suffixes, *self.types)


def check_parsers(parsers: Mapping[str, Parser]) -> None:
    """Raises ValueError where two of a package are for the same files."""
    taken: dict[str, str] = {}
    for name, parser in parsers.items():
        for kind in parser.kinds:
            other = taken.setdefault(kind, name)
            if other != name:
                raise ValueError(f"parsers {other} and {name} are both for {kind}")


def kinds_of(file: str, type_: str = "") -> Iterator[str]:
    """What a file may be known by, the surest first: its media type, the ends of its name from the longest on."""
    told = type_.partition(";")[0].strip().lower()
    if told:
        yield told
    _, *ends = file.rpartition("/")[2].lower().split(".")
    for at in range(len(ends)):
        yield "." + ".".join(ends[at:])

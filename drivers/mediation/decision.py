"""Whether a worker may: its rights as the kernel last said them, and what it sees without any. Pure."""

from pathlib import Path
from typing import Final, final

from msgspec import Struct
from msgspec.structs import replace

from drivers.mediation.places import inside
from syscalls.filing import Tree
from syscalls.mediation import File, Needed, needed
from syscalls.mounts import Spot, spot
from syscalls.rights import Right, allowed, parse_rights
from syscalls.row import Args

_REMEMBERED_MAX: Final = 4096
_NOWHERE: Final = Path("/nonexistent")
# What a C library looks for on any machine, and does without: there is none here, and nobody is told of that.
_PROBED: Final = (
    "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/ld.so.cache",
    "/etc/ld.so.preload", "/etc/localtime", "/etc/services", "/etc/protocols", "/etc/ssl", "/usr/lib/ssl", "/proc",
    "/sys", "/usr/share/locale", "/usr/lib/locale", "/usr/share/zoneinfo", "/etc/mime.types",
)  # fmt: skip


@final
class Allowed(Struct, frozen=True):
    """By these rights, one for each thing that it takes; a file lies in `spot`."""

    rights: tuple[str, ...]
    spot: Spot | None = None


@final
class Decisions:
    """`seen` are the folders that the worker sees of its own, read-only: the interpreter's library above all."""

    def __init__(self, seen: tuple[str, ...]) -> None:
        self._seen = frozenset(seen)
        self._in_seen = tuple(f"{folder}/" for folder in seen)
        self._rights: tuple[Right, ...] = ()
        self._remembered: dict[tuple[str, bool, bool], Allowed | None] = {}

    def grant(self, rights: tuple[str, ...]) -> None:
        """From now on these, and none that it had before."""
        self._rights = parse_rights(rights)
        self._remembered.clear()

    def sees(self, path: str) -> bool:
        """Whether it is part of what the worker sees of its own."""
        return path.startswith(self._in_seen) or path in self._seen

    def leads_there(self, path: str) -> bool:
        """Whether it is a folder on the way there, of which nothing shows but that way."""
        return any(inside(folder, path) for folder in self._seen)

    def expected_absent(self, path: str) -> bool:
        """Whether nobody has to be told that it was asked for."""
        return any(inside(path, folder) for folder in _PROBED)

    def file(self, path: str, *, read: bool, write: bool) -> Allowed | None:
        """By which rights a file may be read or written, and the tree it lies in; None if it may not."""
        key = (path, read, write)
        if key not in self._remembered:
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            rights = self.all(needed(File(path=path, read=read, write=write)))
            self._remembered[key] = None if rights is None else Allowed(rights, spot_of(path, rights))
        return self._remembered[key]

    def all(self, needs: Needed) -> tuple[str, ...] | None:
        """A right for each, or None where one is missing."""
        found = []
        for action, names in needs:
            right = allowed(self._rights, action, names)
            if right is None:
                return None
            found.append(str(right))
        return tuple(found)

    def args(self, args: Args) -> tuple[str, ...] | None:
        """As `all`, for a deed."""
        return self.all(needed(args))


def spot_of(path: str, rights: tuple[str, ...]) -> Spot:
    """Where it lies. By two rights a link is followed by neither: it may lead to what only one of them covers."""
    found = spot(path, rights[-1], _NOWHERE)
    if len(set(rights)) == 1:
        return found
    return replace(found, tree=Tree(root=found.tree.root))

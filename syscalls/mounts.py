"""Mounts: which tree of the host a path lies in, by the right that let it in. Pure."""

from pathlib import Path
from typing import final

from msgspec import Struct

from syscalls.filepath import PRIVATE, plain
from syscalls.filing import Tree
from syscalls.rights import Right

_EVERYTHING = ("**", "file:**")


@final
class Spot(Struct, frozen=True):
    """A path as the file host walks it: `inner`, below the root of `tree`. `path` is how the caller names it."""

    path: str
    tree: Tree
    inner: str


def spot(path: str, right: str, private_root: Path) -> Spot:
    """Where `path` (in its plain form) lies, given the `right`, as text, that allows what is to be done with it.

    The root is the folder that the right names as far as it has no wildcard. Links below it may be followed only if the
    right covers all that they can lead to without leaving the root: if it says `ROOT/**` and nothing else."""
    pattern = Right.parse(right).resource
    pattern = "**" if pattern in _EVERYTHING else pattern.removeprefix("file:")
    if path == PRIVATE or path.startswith(PRIVATE + "/"):
        tree = Tree(root=str(private_root), follow=pattern in ("**", f"{PRIVATE}/**"), private=True)
        return Spot(path, tree, path[2:] or ".")
    pattern = "/**" if pattern == "**" else pattern
    root = pattern.partition("*")[0].rpartition("/")[0]
    assert path == root or path.startswith(root + "/"), f"{right} does not cover {path}"
    return Spot(path, Tree(root=root or "/", follow=pattern == root + "/**"), path[len(root) :].strip("/") or ".")


def file_names(path: str) -> tuple[str, ...]:
    """The resource names of a path. A folder goes by its name with a `/` too: the right to all that lies in it lets
    itself be listed. Raises Invalid (EINVAL) for a path that is not written out."""
    name = plain(path)
    return (f"file:{name}",) if name == "/" else (f"file:{name}", f"file:{name}/")

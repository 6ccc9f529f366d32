"""Paths of files as the ABI writes them: the host's, `/srv/docs/a.txt`, or those of a private tree, `~/notes.txt`.

A path is written out: no `.`, `..` or `//`, so that the text whose right is checked is the path that is walked. What is
wrong with a path is said, not mended, but for one `/` at its end.
"""

from typing import Final

from syscalls.errors import Invalid

PATH_CHARS_MAX: Final = 4096
PRIVATE: Final = "~"


def plain(path: str) -> str:
    """The path in its one form. Raises Invalid (EINVAL) that says how to write it."""
    if len(path) > PATH_CHARS_MAX:
        raise Invalid(f"a path of {len(path)} characters: the longest has {PATH_CHARS_MAX}")
    if "\0" in path:
        raise Invalid(f"{path!r}: a path holds no zero byte")
    if not path.startswith(("/", "~/")) and path != PRIVATE:
        raise Invalid(f"{path!r}: write the whole path, from '/', or from '~/' for the private tree")
    bare = path[:-1] if path.endswith("/") and path != "/" else path
    names = bare.split("/")[1:]
    if bare != "/" and any(name in ("", ".", "..") for name in names):
        raise Invalid(f"{path!r}: write the path out, without '.', '..' and '//'")
    return bare

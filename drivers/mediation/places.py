"""What a path names, by its text alone: the text whose right is checked is the text that is walked. Pure.

`..` takes back the name before it, whatever that is; where the machine would have followed a link before it, another
file is meant than the machine would have meant, and it is that one's right which is checked.
"""

import errno
import os


def absolute(base: str, path: str) -> str:
    """`path`, seen from the folder `base`, written out: from `/`, without `.`, `..` and `//`.

    Raises OSError: ENOENT for the empty path, as the machine has it."""
    if not path:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    if path.startswith("/") and "/." not in path and "//" not in path and (not path.endswith("/") or path == "/"):
        return path  # as most are
    names: list[str] = []
    for name in (path if path.startswith("/") else f"{base}/{path}").split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return "/" + "/".join(names)


def must_be_folder(path: str) -> bool:
    """Whether its spelling says that it is one."""
    return path.endswith(("/", "/.", "/..")) or path in (".", "..")


def inside(path: str, folder: str) -> bool:
    """Whether it is the folder, or lies in it."""
    return folder == "/" or path == folder or path.startswith(folder + "/")


def speakable(path: str) -> bool:
    """Whether a right can name it: in UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True

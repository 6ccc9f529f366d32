"""Where overlays are kept: a folder for each in the state folder, numbered; what lies in it the kernel lays out.

`NUMBER/N` is the layer of one folder: `path` says which, and is as old as the layer; `upper` holds what was changed.
"""

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import final

from msgspec import Struct

from syscalls.errors import Busy, NotFound
from syscalls.paths import state_dir

_TRIES = 1000


@final
class Layer(Struct, frozen=True):
    """What was changed in one folder. `since_ns` is when it began, as the file system tells the time."""

    folder: str
    upper: Path
    since_ns: int


def root() -> Path:
    """The folder of all overlays of this user."""
    return state_dir() / "overlays"


def create() -> Path:
    """A new one, empty. Raises OSError."""
    home = root()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = max((int(name) for name in os.listdir(home) if name.isdigit()), default=0)
    for _ in range(_TRIES):
        number += 1
        with contextlib.suppress(FileExistsError):
            made = home / str(number)
            made.mkdir(mode=0o700)
            return made
    raise FileExistsError(f"{home}: no number is free")


def find(number: int | None) -> Path:
    """One by its number, the newest where none is given. Raises NotFound (ENOENT)."""
    found = every()
    if number is None:
        if not found:
            raise NotFound("there are no overlays: 'kernos exec --write DIR --overlay -- COMMAND' makes one")
        return found[-1]
    home = root() / str(number)
    if home not in found:
        raise NotFound(f"no overlay {number}; there are: {', '.join(each.name for each in found) or 'none'}")
    return home


def every() -> list[Path]:
    """All, the oldest first."""
    home = root()
    names = sorted((int(name) for name in os.listdir(home) if name.isdigit()), key=int) if home.is_dir() else []
    return [home / str(name) for name in names]


def layers(home: Path) -> list[Layer]:
    """What there is of an overlay, folder by folder."""
    found = []
    for each in sorted(home.iterdir(), key=lambda path: path.name):
        mark = each / "path"
        if mark.is_file():
            folder = mark.read_text("utf-8", "surrogateescape")
            found.append(Layer(folder, each / "upper", mark.stat().st_ctime_ns))
    return found


@contextlib.contextmanager
def held(home: Path) -> Iterator[None]:
    """Keeps it from everybody else. Raises Busy (EBUSY) while its command runs."""
    fd = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Busy(f"the command of overlay {home.name} still runs: wait for it, or 'kernos kill' it") from None
    else:
        yield
    finally:
        os.close(fd)


def discard(home: Path) -> None:
    """Throws it away, however deep it is and whatever permissions its folders were left with: by the command, or by
    the system, which keeps one for itself. Raises OSError."""
    for words in (("chmod", "-R", "u+rwX"), ("rm", "-rf")):
        done = subprocess.run([*words, "--", str(home)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"overlay {home.name} cannot be removed: {done.stderr.strip()}")

"""Files that processes have open, and where the private trees of principals lie. Pure."""

import urllib.parse
from pathlib import Path
from typing import final

from syscalls.mounts import Spot


@final
class OpenFile:
    """A file that a process has open. `number` is the host's, and changes when a host dies; the rest does not."""

    __slots__ = ("identity", "number", "spot", "write")

    def __init__(self, spot: Spot, *, write: bool, number: int, identity: str) -> None:
        self.spot = spot
        self.write = write
        self.number = number
        self.identity = identity


def principal_of(folder: str) -> str:
    """Whose private tree bears that name: the inverse of `private_root`."""
    return "" if folder == "%" else urllib.parse.unquote(folder)


def private_root(state_folder: Path, principal: str) -> Path:
    """The private tree of a principal. Its name cannot leave the folder, whatever the principal is called."""
    return state_folder / "files" / (urllib.parse.quote(principal, safe="").replace(".", "%2E") or "%")

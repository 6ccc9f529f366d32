"""The kernel family, 0xA0, continued: the packages that are installed."""

from typing import final

from syscalls.row import Args, Flag, Needs, Result, Row


@final
class ListPackages(Args, frozen=True, kw_only=True):
    """`look`: read the folder again first, and start and end tools as it says."""

    look: bool = False


@final
class PackageInfo(Result, frozen=True, kw_only=True):
    """An installed package: the names of its programs (run as `PACKAGE:PROGRAM`) and of its tools, the rights that it
    was granted, by which key it was signed ("": by none)."""

    name: str
    version: str
    programs: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    rights: tuple[str, ...] = ()
    key: str = ""


@final
class Packages(Result, frozen=True, kw_only=True):
    """All of them, by name, and the folder in which they lie."""

    folder: str
    packages: tuple[PackageInfo, ...]


PACKAGES = Row(
    0xA9,
    "kernel.packages",
    ListPackages,
    Packages,
    Needs("packages", "kernel:packages"),
    Flag.INLINE | Flag.IDEMPOTENT,
    "The packages that are installed, and what they may do.",
)

ROWS = (PACKAGES,)

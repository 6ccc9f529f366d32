"""What stat and statx put into a worker's memory, by the machine's layout."""

import os
import struct
from collections.abc import Callable
from typing import Final

_BASIC: Final = 0x7FF
_NOBODY: Final = 65534
_X86_64: Final = struct.Struct("=3Q4IQ3q6Q24x")
_GENERIC: Final = struct.Struct("=2Q4I2Qq2iq6Q8x")
_STATX: Final = struct.Struct("=2IQ3IHxx4Q qIxxxx qIxxxx qIxxxx qIxxxx 4I 112x".replace(" ", ""))
_NANO: Final = 1_000_000_000
assert (_X86_64.size, _GENERIC.size, _STATX.size) == (144, 128, 256)


Layout = Callable[[os.stat_result, frozenset[int]], bytes]
"""What was found, as bytes; whose id is one of those is the worker itself to the worker."""


def layout(machine: str) -> Layout:
    """How `struct stat` looks on that machine."""
    return _stat_x86_64 if machine == "x86_64" else _stat_generic


def statx(found: os.stat_result, own: frozenset[int]) -> bytes:
    """`struct statx`, the basic part; the same on every machine."""
    uid, gid = _owner(found, own)
    zero = (0, 0)
    return _STATX.pack(
        _BASIC, found.st_blksize, 0, found.st_nlink, uid, gid, found.st_mode, found.st_ino, found.st_size,
        found.st_blocks, 0, *divmod(found.st_atime_ns, _NANO), *zero, *divmod(found.st_ctime_ns, _NANO),
        *divmod(found.st_mtime_ns, _NANO), os.major(found.st_rdev), os.minor(found.st_rdev), os.major(found.st_dev),
        os.minor(found.st_dev),
    )  # fmt: skip


def _stat_x86_64(found: os.stat_result, own: frozenset[int]) -> bytes:
    return _X86_64.pack(
        found.st_dev, found.st_ino, found.st_nlink, found.st_mode, *_owner(found, own), 0, found.st_rdev, found.st_size,
        found.st_blksize, found.st_blocks, *_times(found),
    )  # fmt: skip


def _stat_generic(found: os.stat_result, own: frozenset[int]) -> bytes:
    return _GENERIC.pack(
        found.st_dev, found.st_ino, found.st_mode, found.st_nlink, *_owner(found, own), found.st_rdev, 0, found.st_size,
        found.st_blksize, 0, found.st_blocks, *_times(found),
    )  # fmt: skip


def _owner(found: os.stat_result, own: frozenset[int]) -> tuple[int, int]:
    """As the worker has it: 0 is itself; everybody else is nobody."""
    return (0 if found.st_uid in own else _NOBODY), (0 if found.st_gid in own else _NOBODY)


def _times(found: os.stat_result) -> tuple[int, ...]:
    return (
        *divmod(found.st_atime_ns, _NANO),
        *divmod(found.st_mtime_ns, _NANO),
        *divmod(found.st_ctime_ns, _NANO),
    )

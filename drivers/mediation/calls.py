"""What a call asks for: from a notice's words, and what they point to, to a request that nobody can change any more.

Each argument in memory is read here and nowhere else, once.
"""

import errno
import os
import struct
from collections.abc import Callable
from typing import Final, final

from msgspec import Struct

from drivers.mediation.memory import Memory
from drivers.mediation.notices import Notice

HERE: Final = -100
"""AT_FDCWD."""
_NO_FOLLOW: Final = 0x100
_REMOVE_FOLDER: Final = 0x200
_EMPTY_PATH: Final = 0x1000
_ADDRESS_BYTES_MAX: Final = 128
_TIMES: Final = struct.Struct("=4q")


@final
class Open(Struct, frozen=True):
    folder: int
    path: str
    flags: int
    mode: int


@final
class Stat(Struct, frozen=True):
    """`path` None: the descriptor `folder` itself. The answer goes to `at`, as statx has it with `extended`."""

    folder: int
    path: str | None
    follow: bool
    at: int
    extended: bool = False


@final
class Access(Struct, frozen=True):
    folder: int
    path: str
    mode: int


@final
class ReadLink(Struct, frozen=True):
    folder: int
    path: str
    at: int
    size: int


@final
class MakeFolder(Struct, frozen=True):
    folder: int
    path: str
    mode: int


@final
class Remove(Struct, frozen=True):
    folder: int
    path: str
    directory: bool


@final
class Rename(Struct, frozen=True):
    folder: int
    path: str
    to_folder: int
    to: str


@final
class Truncate(Struct, frozen=True):
    path: str
    size: int


@final
class ChangeMode(Struct, frozen=True):
    folder: int
    path: str
    mode: int


@final
class ChangeTimes(Struct, frozen=True):
    """Seconds and nanoseconds of access and change; None is now."""

    folder: int
    path: str
    times: tuple[int, int, int, int] | None
    follow: bool


@final
class GoTo(Struct, frozen=True):
    """`path` None: to the folder that is open as `folder`."""

    folder: int
    path: str | None


@final
class WhereAmI(Struct, frozen=True):
    at: int
    size: int


@final
class Connect(Struct, frozen=True):
    fd: int
    address: bytes


Request = (
    Open | Stat | Access | ReadLink | MakeFolder | Remove | Rename | Truncate | ChangeMode | ChangeTimes | GoTo
    | WhereAmI | Connect
)  # fmt: skip
_Words = tuple[int, ...]

_X86_64: Final = {
    2: "open", 4: "stat", 6: "lstat", 21: "access", 42: "connect", 76: "truncate", 79: "getcwd", 80: "chdir",
    81: "fchdir", 82: "rename", 83: "mkdir", 84: "rmdir", 85: "creat", 87: "unlink", 89: "readlink", 90: "chmod",
    257: "openat", 258: "mkdirat", 262: "newfstatat", 263: "unlinkat", 264: "renameat", 267: "readlinkat",
    268: "fchmodat", 269: "faccessat", 280: "utimensat", 316: "renameat2", 332: "statx", 439: "faccessat2",
}  # fmt: skip
_GENERIC: Final = {
    17: "getcwd", 34: "mkdirat", 35: "unlinkat", 38: "renameat", 45: "truncate", 48: "faccessat", 49: "chdir",
    50: "fchdir", 53: "fchmodat", 56: "openat", 78: "readlinkat", 79: "newfstatat", 88: "utimensat", 203: "connect",
    276: "renameat2", 291: "statx", 439: "faccessat2",
}  # fmt: skip
NAMES: Final = {"x86_64": _X86_64, "aarch64": _GENERIC, "riscv64": _GENERIC}
"""The calls that are answered, by their numbers on each machine."""


def read_call(notice: Notice, memory: Memory, names: dict[int, str]) -> Request:
    """The request. Raises OSError: ENOSYS for a call that is not answered, EFAULT, ENAMETOOLONG, EINVAL."""
    name = names.get(notice.number)
    if name is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return _READERS[name](notice.words, memory)


def signed(word: int) -> int:
    """A word as the int that it is: a descriptor, for one."""
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word


def _open(w: _Words, m: Memory) -> Request:
    return Open(HERE, m.path(w[0]), w[1] & 0xFFFFFFFF, w[2] & 0o7777)


def _openat(w: _Words, m: Memory) -> Request:
    return Open(signed(w[0]), m.path(w[1]), w[2] & 0xFFFFFFFF, w[3] & 0o7777)


def _creat(w: _Words, m: Memory) -> Request:
    return Open(HERE, m.path(w[0]), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, w[1] & 0o7777)


def _newfstatat(w: _Words, m: Memory) -> Request:
    return _stat(w, m, at=w[2], flags=w[3])


def _statx(w: _Words, m: Memory) -> Request:
    return _stat(w, m, at=w[4], flags=w[2], extended=True)


def _stat(w: _Words, m: Memory, *, at: int, flags: int, extended: bool = False) -> Request:
    path: str | None = m.path(w[1]) if w[1] or not flags & _EMPTY_PATH else ""
    if not path and flags & _EMPTY_PATH:
        path = None
    return Stat(signed(w[0]), path, not flags & _NO_FOLLOW, at, extended)


def _utimensat(w: _Words, m: Memory) -> Request:
    times = _TIMES.unpack(m.exactly(w[2], _TIMES.size)) if w[2] else None
    return ChangeTimes(signed(w[0]), m.path(w[1]), times, not w[3] & _NO_FOLLOW)


def _renameat2(w: _Words, m: Memory) -> Request:
    if w[4]:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return Rename(signed(w[0]), m.path(w[1]), signed(w[2]), m.path(w[3]))


def _connect(w: _Words, m: Memory) -> Request:
    size = w[2] & 0xFFFFFFFF
    if not 2 <= size <= _ADDRESS_BYTES_MAX:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return Connect(signed(w[0]), m.exactly(w[1], size))


_READERS: Final[dict[str, Callable[[_Words, Memory], Request]]] = {
    "open": _open,
    "openat": _openat,
    "creat": _creat,
    "stat": lambda w, m: Stat(HERE, m.path(w[0]), True, w[1]),
    "lstat": lambda w, m: Stat(HERE, m.path(w[0]), False, w[1]),
    "newfstatat": _newfstatat,
    "statx": _statx,
    "access": lambda w, m: Access(HERE, m.path(w[0]), w[1] & 7),
    "faccessat": lambda w, m: Access(signed(w[0]), m.path(w[1]), w[2] & 7),
    "faccessat2": lambda w, m: Access(signed(w[0]), m.path(w[1]), w[2] & 7),
    "readlink": lambda w, m: ReadLink(HERE, m.path(w[0]), w[1], signed(w[2])),
    "readlinkat": lambda w, m: ReadLink(signed(w[0]), m.path(w[1]), w[2], signed(w[3])),
    "getcwd": lambda w, m: WhereAmI(w[0], w[1]),
    "chdir": lambda w, m: GoTo(HERE, m.path(w[0])),
    "fchdir": lambda w, m: GoTo(signed(w[0]), None),
    "mkdir": lambda w, m: MakeFolder(HERE, m.path(w[0]), w[1] & 0o7777),
    "mkdirat": lambda w, m: MakeFolder(signed(w[0]), m.path(w[1]), w[2] & 0o7777),
    "rmdir": lambda w, m: Remove(HERE, m.path(w[0]), True),
    "unlink": lambda w, m: Remove(HERE, m.path(w[0]), False),
    "unlinkat": lambda w, m: Remove(signed(w[0]), m.path(w[1]), bool(w[2] & _REMOVE_FOLDER)),
    "rename": lambda w, m: Rename(HERE, m.path(w[0]), HERE, m.path(w[1])),
    "renameat": lambda w, m: Rename(signed(w[0]), m.path(w[1]), signed(w[2]), m.path(w[3])),
    "renameat2": _renameat2,
    "truncate": lambda w, m: Truncate(m.path(w[0]), w[1]),
    "chmod": lambda w, m: ChangeMode(HERE, m.path(w[0]), w[1] & 0o777),
    "fchmodat": lambda w, m: ChangeMode(signed(w[0]), m.path(w[1]), w[2] & 0o777),
    "utimensat": _utimensat,
    "connect": _connect,
}

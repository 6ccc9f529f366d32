"""What a zygote and a worker are asked to be, and what is told back while one is made."""

from __future__ import annotations

import os
import posixpath
from typing import Final, Literal

from msgspec import Struct

from sandbox.limits import BINDS_MAX, PAYLOAD_BYTES_MAX, UID_BASE, UID_BASE_MAX, UID_BASE_MIN

LAYERS: Final = (
    "user",
    "mount",
    "pid",
    "net",
    "ipc",
    "uts",
    "cgroup",
    "uid",
    "root",
    "capabilities",
    "privileges",
    "limits",
    "death",
    "landlock",
    "seccomp",
)
"""Every layer of the jail, in the order in which they are put up."""

FOUNDATIONS: Final = frozenset({"user", "mount", "uid"})
"""Layers that the others stand on: they cannot be left out."""

COMMAND_FOUNDATIONS: Final = FOUNDATIONS | {"net", "pid", "root"}
"""Those of a command: its door listens in its network namespace, its first process reaps in its pid namespace."""

Tier = Literal["pure", "threads", "files", "door", "command"]
"""How much the system-call filter lets through: one thread with its event loop; threads as well; plain files and
connections besides, each of which waits for a supervisor's answer (user notification); threads and connections of a
listening socket that it was given; or what executables in general need."""

TIERS: Final[tuple[Tier, ...]] = ("pure", "threads", "files", "door", "command")


MountKind = Literal["system", "read", "write", "device"]


class Bind(Struct, frozen=True):
    """A file or folder of the host, read-only at `target` inside the jail.

    A folder shows whatever is mounted below it as well. Both paths are absolute; `target` is normal
    (no `..`, no double slash) and is not the root itself. Raises ValueError otherwise.
    """

    source: str
    target: str

    def __post_init__(self) -> None:
        if not posixpath.isabs(self.source):
            raise ValueError(f"bind source {self.source!r} is relative; give an absolute path")
        if not posixpath.isabs(self.target) or posixpath.normpath(self.target) != self.target:
            raise ValueError(f"bind target {self.target!r} is not a normal absolute path")
        if self.target.strip("/") == "":
            raise ValueError("a bind cannot cover the root of the jail; name a folder below it")


class Limits(Struct, frozen=True, kw_only=True):
    """rlimits of one worker; each is a hard limit. What is over it fails inside, or ends the worker."""

    cpu_s: int = 3600
    """RLIMIT_CPU: SIGKILL when this much processor time is used."""
    memory_bytes: int = 1024 * 1024 * 1024
    """RLIMIT_AS, the address space: covers shared anonymous memory, which RLIMIT_DATA does not."""
    files: int = 256
    """RLIMIT_NOFILE: open descriptors, the three standard ones and the socket among them."""
    file_bytes: int = 0
    """RLIMIT_FSIZE: nothing in the jail can be written, so nothing by default."""
    processes: int = 64
    """RLIMIT_NPROC: threads and processes. Counted for the worker alone, in its user namespace."""
    data_bytes: int | None = None
    """RLIMIT_DATA, private writable memory of one process: for executables that reserve more addresses than they
    use, where `memory_bytes` would stop them at once."""


COMMAND_LIMITS: Final = Limits(
    memory_bytes=1 << 47,
    data_bytes=4 * 1024 * 1024 * 1024,
    files=4096,
    file_bytes=4 * 1024 * 1024 * 1024,
    processes=512,
)
"""Of an executable. Memory is bounded for each of its processes; what it keeps in /tmp by the size of that."""


class ZygoteSpec(Struct, frozen=True, kw_only=True):
    """An interpreter environment from which workers are forked.

    `path` is sys.path of the zygote and of every guest; what lies on it is seen by guests only as
    far as `binds` (or a worker's own) show it, at the same paths. `preload` is imported before the first
    worker is asked for; modules in it must start no thread and open no descriptor. `rehearsal` (`module:function`)
    is called then, and leaves nothing behind either: it plays through what every worker will do, so that
    what the interpreter writes down for itself on the way is written before the fork.
    """

    python: str
    path: tuple[str, ...]
    preload: tuple[str, ...] = ()
    rehearsal: str = ""
    binds: tuple[Bind, ...] = ()
    uid_base: int = UID_BASE

    def __post_init__(self) -> None:
        if not UID_BASE_MIN <= self.uid_base <= UID_BASE_MAX:
            raise ValueError(f"uid_base {self.uid_base} is outside {UID_BASE_MIN}..{UID_BASE_MAX}")
        if len(self.binds) > BINDS_MAX:
            raise ValueError(f"{len(self.binds)} binds; a zygote holds at most {BINDS_MAX}")


class WorkerSpec(Struct, frozen=True, kw_only=True, tag=True):
    """One worker to be made.

    `entry` is `module:function`. The module is imported inside the jail (which costs nothing if the
    zygote preloaded it) and the function called as `function(sock_fd: int, payload: bytes) -> int`;
    what it returns is the exit status. `without` names layers to leave out: the operator's word for a
    weaker machine, and how a test finds out which layer refuses what. `given` descriptors come with it and are
    `sandbox.guest.GIVEN_FD` and on.
    """

    entry: str
    payload: bytes = b""
    binds: tuple[Bind, ...] = ()
    limits: Limits = Limits()
    tier: Tier = "pure"
    without: tuple[str, ...] = ()
    given: int = 0

    def __post_init__(self) -> None:
        module, colon, function = self.entry.partition(":")
        if not (module and colon and function):
            raise ValueError(f"entry {self.entry!r} is not of the form module:function")
        if len(self.payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(
                f"payload of {len(self.payload)} bytes; at most {PAYLOAD_BYTES_MAX} fit, send the rest over the socket"
            )
        if len(self.binds) > BINDS_MAX:
            raise ValueError(f"{len(self.binds)} binds; a worker holds at most {BINDS_MAX}")
        for layer in self.without:
            if layer not in LAYERS or layer in FOUNDATIONS:
                raise ValueError(f"layer {layer!r} cannot be left out; one of {sorted(set(LAYERS) - FOUNDATIONS)}")
        if self.tier == "files" and {"root", "seccomp"} & set(self.without):
            raise ValueError("the tier 'files' stands on the layers root and seccomp: neither can be left out")


class Mount(Struct, frozen=True):
    """A file or folder of the host that a command sees at the same place.

    `kind`: `system` (read-only, with the rights that everybody has), `read`, `write`, or `device`. With `layer`, a
    folder of the host that holds `upper` and `work`, what is written goes there and `path` stays as it is.
    """

    path: str
    kind: MountKind
    layer: str = ""

    def __post_init__(self) -> None:
        if not posixpath.isabs(self.path) or posixpath.normpath(self.path) != self.path or self.path.strip("/") == "":
            raise ValueError(f"{self.path!r} cannot be mounted: give a normal absolute path below the root")
        if self.layer and (self.kind != "write" or any(char in self.layer for char in ",:\\")):
            raise ValueError(f"{self.layer!r} cannot be the upper layer of {self.path}")


class CommandSpec(Struct, frozen=True, kw_only=True, tag=True):
    """One executable to be run in a jail.

    `path` and `cwd` are as the command sees them, `argv` includes its name, `env` is its environment; in the
    values of `door_env`, which is added, `{port}` becomes the door's port. `links` (place, target) and `files` (place,
    text) are made in its root. `terminal` (rows, columns) gives it a terminal of its own instead of three pipes.
    """

    path: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    door_env: dict[str, str] = {}
    mounts: tuple[Mount, ...]
    links: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    terminal: tuple[int, int] | None = None
    limits: Limits = COMMAND_LIMITS
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        size = sum(len(os.fsencode(text)) + 8 for pair in self.env.items() for text in pair)
        size += sum(len(os.fsencode(word)) + 8 for word in self.argv)
        if size > PAYLOAD_BYTES_MAX:
            raise ValueError(f"arguments and environment of {size} bytes; at most {PAYLOAD_BYTES_MAX} fit")
        if not self.argv or any("\0" in text for text in (self.path, self.cwd, *self.argv, *self.env.values())):
            raise ValueError("a command has at least a name, and no null characters")
        if any(not name or "=" in name or "\0" in name for name in self.env):
            raise ValueError("the name of an environment variable is empty, or has a '=' in it")
        if sum(1 + bool(mount.layer) for mount in self.mounts) > BINDS_MAX:
            raise ValueError(f"{len(self.mounts)} mounts; a command has at most {BINDS_MAX}, the system's among them")
        for layer in self.without:
            if layer not in LAYERS or layer in COMMAND_FOUNDATIONS:
                raise ValueError(f"layer {layer!r} cannot be left out under a command")


Spec = WorkerSpec | CommandSpec


def plan_binds(*groups: tuple[Bind, ...]) -> tuple[Bind, ...]:
    """The binds to be made, parents before children.

    A bind that another one shows already (same place on the host, same place inside) is left out. Raises
    ValueError when two binds want the same target, or one lies inside another and shows something else:
    the outer one is read-only and cannot be given a mount point.
    """
    planned: list[Bind] = []
    for bind in sorted({bind for group in groups for bind in group}, key=lambda bind: (bind.target, bind.source)):
        outer = next((other for other in planned if _inside(bind.target, other.target)), None)
        if outer is None:
            planned.append(bind)
        elif bind.source.rstrip("/") != outer.source.rstrip("/") + bind.target[len(outer.target) :]:
            raise ValueError(
                f"bind {bind.source} at {bind.target} lies inside {outer.source} at {outer.target}; "
                "give it a target of its own"
            )
    return tuple(planned)


def _inside(target: str, outer: str) -> bool:
    return target == outer or target.startswith(outer + "/")

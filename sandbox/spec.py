"""What a zygote and a worker are asked to be, and what is told back while one is made."""

from __future__ import annotations

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

Tier = Literal["loop", "threads"]
"""How much the system-call filter lets through: one thread with event loops, or threads as well."""

TIERS: Final[tuple[Tier, ...]] = ("loop", "threads")


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


class WorkerSpec(Struct, frozen=True, kw_only=True):
    """One worker to be made.

    `entry` is `module:function`. The module is imported inside the jail (which costs nothing if the
    zygote preloaded it) and the function called as `function(sock_fd: int, payload: bytes) -> int`;
    what it returns is the exit status. `without` names layers to leave out: the operator's word for a
    weaker machine, and how a test finds out which layer refuses what.
    """

    entry: str
    payload: bytes = b""
    binds: tuple[Bind, ...] = ()
    limits: Limits = Limits()
    tier: Tier = "loop"
    without: tuple[str, ...] = ()

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

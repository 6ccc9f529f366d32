"""What the host's half, the zygote and a worker being set up say to each other.

Three sockets, all SEQPACKET. *Control*, host to zygote, carries `Begin` once and then one `Bear` per
worker with its descriptors; only `Ready` or `Failed` ever comes back. *Status* belongs to one worker:
the host puts its `WorkerSpec` in before the worker exists, the zygote says `Born`, the worker `Confined` or
`Failed`; the zygote may say `Failed` in its place. The system attests the sender of each message, so the
worker's pid is known as soon as either of the two has said anything. *Help*, zygote to worker, carries the
mounts that only the zygote could take. So what a worker is told (its payload, its folders) never is in
the zygote's memory, which all later workers inherit.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from sandbox.spec import ZygoteSpec

ORPHANED: Final = "orphaned"
"""The layer that a worker names in `Failed` when its zygote was gone before it could help."""


class Begin(Struct, frozen=True, tag=True):
    """The first message to a zygote. `filters` holds the seccomp program of each tier."""

    spec: ZygoteSpec
    filters: dict[str, bytes]
    host_pid: int


class Ready(Struct, frozen=True, tag=True):
    """The zygote has imported what it was told to and serves. `privileged`: it takes the mounts itself."""

    pid: int
    privileged: bool


class Bear(Struct, frozen=True, tag=True):
    """Make a worker. Descriptors with it: status, its socket, its output, then O_PATH of each own bind."""

    without: tuple[str, ...]


class Help(Struct, frozen=True, tag=True):
    """The worker's id maps are written. Descriptors with it: a detached mount per bind, or none."""

    taken: bool


class Born(Struct, frozen=True, tag=True):
    """A worker exists, says the zygote."""

    pid: int


class Confined(Struct, frozen=True, tag=True):
    """Every layer is up, the entry is called next. `layers` is what each cost, in microseconds. Descriptors with it in
    the tier `files`: where calls that wait are answered, and O_PATH of the worker's root."""

    layers: dict[str, int]


class Failed(Struct, frozen=True, tag=True):
    """A layer could not be put up; whoever says so exits (a worker) or goes on serving (the zygote)."""

    layer: str
    reason: str


ToZygote = Begin | Bear
FromZygote = Ready | Failed
Status = Born | Confined | Failed

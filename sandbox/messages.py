"""What the host's half, the zygote and a worker being set up say to each other.

Three sockets, all SEQPACKET. *Control*, host to zygote, carries `Begin` once and then one `Bear` per
worker with its descriptors; back comes `Ready` or `Failed` once, then `Hatched` of each child as it is forked and
`Lost` of one that died before it was a worker. *Status* belongs to one worker: the host puts its `WorkerSpec` in before
anybody reads it, the zygote says `Born`, the worker `Confined` or `Failed`; the zygote may say `Failed` in its place.
The system attests the sender of each message, so a child's pid is known as soon as it or the zygote has said anything.
*Help*, zygote to child, carries `Help` with the mounts that all share and, once there is a worker to be, `Deliver` with
what is its alone. So what a worker is told (its payload, its folders) never is in the zygote's memory, which
all later workers inherit.
"""

from __future__ import annotations

from msgspec import Struct

from sandbox.spec import ZygoteSpec


class Begin(Struct, frozen=True, tag=True):
    """The first message to a zygote. `filters` holds the seccomp program of each tier. `grouped`: with it comes a
    descriptor of the control group in which each child gets one of its own."""

    spec: ZygoteSpec
    filters: dict[str, bytes]
    host_pid: int
    grouped: bool = False


class Ready(Struct, frozen=True, tag=True):
    """The zygote has imported what it was told to and serves. `privileged`: it takes the mounts itself.
    `ungrouped` says why its children get no control groups where they should."""

    pid: int
    privileged: bool
    ungrouped: str = ""


class Bear(Struct, frozen=True, tag=True):
    """Make a worker, or the first process of a command. Descriptors with it: status, its socket, its output, `given`
    ones, then O_PATH of each own bind, or for a command of each mount, `kinds` saying what they are (a mount's layer
    is `layer`, and comes after it). `bounds` are written into the files of its control group."""

    without: tuple[str, ...]
    given: int = 0
    kinds: tuple[str, ...] | None = None
    bounds: tuple[tuple[str, str], ...] = ()


class Hatched(Struct, frozen=True, tag=True):
    """A child is there, say itself (pid 0) and the zygote: the host's to reap, whether it becomes a worker or not, and
    to remove with its control group, which the zygote names."""

    pid: int = 0
    group: str = ""


class Lost(Struct, frozen=True, tag=True):
    """A child died before it was a worker, says the zygote."""

    pid: int


class Help(Struct, frozen=True, tag=True):
    """The child's id maps are written. Descriptors with it: a detached mount per common bind, or none."""

    taken: bool


class Deliver(Struct, frozen=True, tag=True):
    """Be a worker, or a command. Descriptors with it: status, its socket, its output, `given` ones, then a detached
    mount per own bind, or none."""

    taken: bool
    given: int = 0


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


class Ended(Struct, frozen=True, kw_only=True):
    """How a command ended, says the first process of its jail: by itself with `code`, by `signal`, or (`failed` says
    why, and `code` is 126 or 127) without having been executed. `cpu_s` is the processor time that it used itself."""

    code: int = 0
    signal: int = 0
    failed: str = ""
    cpu_s: float = 0.0


ToZygote = Begin | Bear
FromZygote = Ready | Failed | Hatched | Lost
ToChild = Help | Deliver
Status = Born | Confined | Failed

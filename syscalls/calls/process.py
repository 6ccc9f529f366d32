"""The process family, 0x00: programs being run."""

from typing import Annotated, Literal, final

from msgspec import Raw

from syscalls.errors import Errno
from syscalls.row import MANY, Args, Flag, Needs, Result, Row, Says
from syscalls.wire import NIL
from syscalls.worker_limits import WorkerLimits

State = Literal["ready", "running", "waiting", "stopped", "zombie"]
Kind = Literal["program", "session", "tool"]
Stream = Literal["stdout", "stderr", "log"]
Tier = Literal["pure", "threads", "files"]
ShownTier = Literal["pure", "threads", "files", "command"]
"""Of a process that there is: an executable is behind a filter of its own."""
"""What a program's worker may use of the machine: one thread; threads; or threads, plain files and TCP, each open and
connect of which a supervisor makes for it by its rights."""


@final
class Budget(Args, frozen=True, kw_only=True):
    """Limits of a process and all its descendants; None is no limit of its own (its parent's still binds).

    `tokens` counts prompt and generated tokens, `tokens_in` and `tokens_out` each alone; `generation_s` seconds in
    which models generate for it, `calls` system calls that need a right, `money_micros` millionths of the currency of
    the price table. `bytes_stored`, `processes` (itself included) and `contexts` limit what there is of them at a time.
    `wall_s` are seconds from the spawn.
    """

    tokens: int | None = None
    wall_s: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    generation_s: float | None = None
    calls: int | None = None
    money_micros: int | None = None
    bytes_stored: int | None = None
    processes: int | None = None
    contexts: int | None = None


@final
class Spawn(Args, frozen=True, kw_only=True):
    """What to run and what it may do.

    `program` is the NAME of an installed program, or `/absolute/file.py:NAME`; `args` (msgpack array) and `kwargs`
    (msgpack map) are the program's. `rights` are written rights, None hands on the caller's own; no more than the
    caller's. A right `file:/folder/** read` is what the worker sees of the host: that folder, read-only, at the same
    path. `nice` runs from -20 (more) to 19 (less) and is added to the parent's. `model` is the default of its contexts.
    With `detach` it goes on when its parent ends; otherwise it ends with it. With `shared` it may live in one worker
    with others of the same program, principal, parent account, rights and packages: there is no wall between them, what
    one may do all may, and a worker that dies takes all of them along. With `ask` a call for which it lacks the right
    asks for that (capability.request) and waits for the answer, instead of being refused. `packages` are folders of
    installed packages: the worker sees them read-only, and imports from them what its library has not, before the
    kernel's own environment. None hands on the caller's; any other takes the right to read it (`file:/folder/** read`).
    `tier` is how much of the machine its worker may use by plain Python: `pure` (one thread, and what its rights show
    of the host), `threads`, or `files`: threads, and `open`, `os` and `socket` on what its rights `file:/folder/**
    read,write` and `net:tcp:HOST:PORT connect` let it, as they are at that moment; then nothing of the host is shown by
    itself, and it has a worker to itself.
    """

    program: str
    args: Raw = NIL
    kwargs: Raw = NIL
    name: str | None = None
    rights: Annotated[tuple[str, ...], MANY] | None = None
    budget: Budget | None = None
    limits: WorkerLimits | None = None
    nice: int = 0
    model: str | None = None
    detach: bool = False
    shared: bool = False
    ask: bool = False
    packages: Annotated[tuple[str, ...], MANY] | None = None
    tier: Tier = "pure"


@final
class Spawned(Result, frozen=True, kw_only=True):
    """The new process."""

    pid: int


@final
class SpawnMany(Args, frozen=True, kw_only=True):
    """Many processes of one program: one for each of `args`, a msgpack array of its arguments (nil: none). The rest is
    as in Spawn and the same for all; `budget` is what each has."""

    program: str
    args: Annotated[tuple[Raw, ...], MANY]
    kwargs: Raw = NIL
    name: str | None = None
    rights: Annotated[tuple[str, ...], MANY] | None = None
    budget: Budget | None = None
    limits: WorkerLimits | None = None
    nice: int = 0
    model: str | None = None
    detach: bool = False
    shared: bool = False
    packages: Annotated[tuple[str, ...], MANY] | None = None
    tier: Tier = "pure"


@final
class SpawnedMany(Result, frozen=True, kw_only=True):
    """The new processes, in the order of their arguments."""

    pids: tuple[int, ...]


@final
class Wait(Args, frozen=True, kw_only=True):
    """`pid` of a child, 0 for whichever child ends first, or minus a group for the first in it to end; `timeout_s`
    None waits for ever."""

    pid: int = 0
    timeout_s: float | None = None


@final
class Exit(Result, frozen=True, kw_only=True):
    """How a process ended.

    `status` is `done`, `failed`, `killed`, `terminated`, `over_quota`, `over_limit` (`error` names the limit of its
    worker), `timed_out` or `worker_lost`; `value` is what the program returned (msgpack), `error` the sentence for
    people. `code` is its exit code for shells: 0, 1, 128 + signal. Of what the processes below one program return
    64 MiB are kept until somebody waits for them; one that returns more than that leaves room for has failed.
    """

    pid: int
    status: str
    code: int = 0
    value: Raw = NIL
    error: str = ""
    tokens: int = 0
    wall_s: float = 0.0


@final
class Kill(Args, frozen=True, kw_only=True):
    """Signal number `signal` (see syscalls.signals) to `pid`, or to each process of a group: minus its number."""

    pid: int
    signal: int = 15


@final
class Nice(Args, frozen=True, kw_only=True):
    """The new nice value, -20 to 19; below the present one needs `nice` on `process:PID` from the operator."""

    pid: int
    nice: int


@final
class ListProcesses(Args, frozen=True, kw_only=True):
    """Which processes: `all` shows other principals' too where the right allows it; zombies until they are reaped."""

    all: bool = False


@final
class ProcessInfo(Result, frozen=True, kw_only=True, gc=False):
    """One line of `ps`. Times in seconds of the kernel's clock; `tokens` prompt + generated, charged so far;
    `queued` requests of it wait for a device; `money_micros` was spent by its account and all below; `tier` is its
    worker's (see Spawn), `command` an executable's."""

    pid: int
    ppid: int
    principal: str
    kind: Kind
    name: str
    state: State
    nice: int = 0
    group: int = 0
    model: str = ""
    context_tokens: int = 0
    window_tokens: int = 0
    tokens_per_s: float = 0.0
    tokens: int = 0
    started_s: float = 0.0
    wall_s: float = 0.0
    faults: int = 0
    note: str = ""
    done: int = 0
    total: int = 0
    rights: tuple[str, ...] = ()
    worker: int = 0
    tokens_max: int | None = None
    queued: int = 0
    money_micros: int = 0
    tier: ShownTier = "pure"


@final
class Processes(Result, frozen=True, kw_only=True):
    """The process table."""

    processes: tuple[ProcessInfo, ...]


@final
class Self(Args, frozen=True, kw_only=True):
    """No arguments."""


@final
class Output(Args, frozen=True, kw_only=True):
    """A piece of what the caller prints."""

    stream: Stream
    text: str


@final
class Note(Args, frozen=True, kw_only=True):
    """What the caller is at, for `ps` and `top`: a few words, and `done` of `total` steps."""

    note: str
    done: int = 0
    total: int = 0


@final
class Logs(Args, frozen=True, kw_only=True):
    """The last `tail` lines printed by `pid` (0: by everybody the right allows), then, with `follow`, more until it
    ends."""

    pid: int
    follow: bool = False
    tail: int = 1000


@final
class LogLine(Result, frozen=True, kw_only=True):
    """One piece of output, as it was written."""

    at_s: float
    pid: int
    stream: Stream
    text: str


@final
class Nothing(Result, frozen=True, kw_only=True):
    """No result."""


SELF = Row(
    0x00,
    "process.self",
    Self,
    ProcessInfo,
    None,
    Flag.INLINE | Flag.IDEMPOTENT | Flag.JOURNALED,
    "Tells the caller who it is.",
)
SPAWN = Row(
    0x01,
    "process.spawn",
    Spawn,
    Spawned,
    Needs("spawn", "program:{program}"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Starts a program as a child of the caller, with no more rights and no larger limits than the caller's.",
    says=Says(
        cancelled="It is answered at once, before the worker has started; what is wrong with the program is its exit.",
        costs="Nothing by itself; what the child does is charged to an account below the caller's.",
        errors=(
            (Errno.ENOENT, "no such program, file or model; the message lists the installed ones."),
            (Errno.EPERM, "a right is asked for that the caller lacks; the message names it."),
            (
                Errno.EINVAL,
                "a path without a name, a budget below zero, no right, more than 256 rights or 64 with a wildcard in "
                "their midst, packages in no folder, tier files and shared.",
            ),
            (Errno.EAGAIN, "the process table is full (bounds.processes_max)."),
            (
                Errno.EQUOTA,
                "the account of the caller, or one above it, may have no more processes, or was closed meanwhile.",
            ),
        ),
    ),
)
WAIT = Row(
    0x02,
    "process.wait",
    Wait,
    Exit,
    Needs("wait", "process:{pid}"),
    Flag.JOURNALED,
    "Waits until a child has ended and reaps it.",
    says=Says(
        waits="For a child to end, at most timeout_s.",
        cancelled="Nothing is reaped: the child is still there to be waited for.",
        errors=(
            (Errno.ESRCH, "the caller has no such child, or none at all, or another waiter was told of its end."),
            (Errno.ETIME, "none ended in timeout_s; nothing is lost."),
            (Errno.EINVAL, "timeout_s is negative."),
        ),
    ),
)
KILL = Row(
    0x03,
    "process.kill",
    Kill,
    Nothing,
    Needs("kill", "process:{pid}"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Sends a signal. TERM cancels the program and, after the grace time, ends its worker; KILL ends it at "
    "once; STOP and CONT hold and free it.",
    says=Says(
        errors=(
            (Errno.ESRCH, "there is no such process."),
            (Errno.EINVAL, "there is no such signal, or the process belongs to the kernel."),
        ),
    ),
)
NICE = Row(
    0x04,
    "process.nice",
    Nice,
    Nothing,
    Needs("nice", "process:{pid}"),
    Flag.INLINE | Flag.JOURNALED,
    "Changes the share of the machine that a process gets.",
    says=Says(
        errors=(
            (Errno.ESRCH, "there is no such process."),
            (Errno.EPERM, "only the operator makes a process less nice."),
            (Errno.EINVAL, "it runs from -20 to 19."),
        ),
    ),
)
LIST = Row(
    0x05,
    "process.list",
    ListProcesses,
    Processes,
    Needs("list", "process:*"),
    Flag.INLINE | Flag.IDEMPOTENT,
    "The process table.",
)
OUTPUT = Row(
    0x06,
    "process.output",
    Output,
    Nothing,
    None,
    Flag.INLINE,
    "Prints: to the caller's log and whoever follows it. The oldest of a log that is full is dropped.",
)
NOTE = Row(
    0x07,
    "process.note",
    Note,
    Nothing,
    None,
    Flag.INLINE,
    "Says what the caller is at, for ps and top.",
)
LOGS = Row(
    0x08,
    "process.logs",
    Logs,
    Nothing,
    Needs("logs", "process:{pid}"),
    Flag.STREAM | Flag.IDEMPOTENT,
    "What a process printed, and with follow what it goes on to print.",
    LogLine,
    says=Says(
        waits="With follow it waits for more until the process has ended; and for its reader.",
        cancelled="The stream ends; nothing else changes.",
        errors=(
            (Errno.ESRCH, "there is no such process, nor was there one lately."),
            (Errno.EINVAL, "tail is negative."),
            (Errno.EPIPE, "the reader gives no credit while too much is waiting for it."),
        ),
    ),
)
SPAWN_MANY = Row(
    0x09,
    "process.spawn_many",
    SpawnMany,
    SpawnedMany,
    Needs("spawn", "program:{program}"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Starts many processes of one program in one call, each with its own arguments: all of them, or none.",
    says=Says(
        cancelled="It is answered at once, as process.spawn.",
        costs="As process.spawn, for each of them.",
        errors=(
            (Errno.ENOENT, "no such program, file or model; the message lists the installed ones."),
            (Errno.EPERM, "a right is asked for that the caller lacks; the message names it."),
            (Errno.EINVAL, "no arguments, more than 1024 of them, or what process.spawn refuses."),
            (Errno.EAGAIN, "the process table has no room for all of them: then none was started."),
            (Errno.EQUOTA, "the account of the caller, or one above it, may not have so many: none was started."),
        ),
    ),
)
# 0x0A process.exec is in syscalls/calls/command.py; 0x0B process.fork and 0x0C process.checkpoint are reserved.

ROWS = (SELF, SPAWN, WAIT, KILL, NICE, LIST, OUTPUT, NOTE, LOGS, SPAWN_MANY)

"""The kernel family, 0xA0: the machine itself."""

from typing import final

from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import Args, Flag, Needs, Result, Row, Says


@final
class Info(Args, frozen=True, kw_only=True):
    """No arguments."""


@final
class KernelInfo(Result, frozen=True, kw_only=True):
    """Version, pid, since when, where clients from elsewhere connect, how much goes on: `queued` requests wait for a
    device, `generating` have one. `policy` of the queues and `eviction` of the windows are those in force; `extensions`
    are loaded; `disabled` is what the watchdog has stopped asking, and why.
    `python` is the interpreter of its workers, as compiled packages must fit it."""

    version: str
    abi: int
    pid: int
    uptime_s: float
    processes: int
    policy: str
    socket: str = ""
    state_dir: str = ""
    calls: int = 0
    denials: int = 0
    faults: int = 0
    tokens: int = 0
    default_model: str = ""
    listening: str = ""
    queued: int = 0
    generating: int = 0
    eviction: str = ""
    extensions: tuple[str, ...] = ()
    disabled: dict[str, str] = {}
    python: str = ""


@final
class Trace(Args, frozen=True, kw_only=True):
    """Records of `pid` (None: all the right allows), after number `since`; with `children` those of all that it
    spawned too. `follow` goes on until cancelled, or until `pid` (and with `children` all of them) has ended. `begun`
    shows calls that wait, once each, before they end: as records of kind `begun`."""

    pid: int | None = None
    since: int = 0
    follow: bool = False
    children: bool = False
    begun: bool = False


@final
class TraceRecord(Result, frozen=True, kw_only=True):
    """One thing that happened.

    `kind` is `call` (a system call has ended), `begun` (it goes on; only where asked for), or an event: `spawn`,
    `exit`, `signal`, `fault`, `evict`, `host_lost`, `host_ready`, `note`, … For calls: `call` is its number since boot,
    by which `begun` and `call` go together; `name`, `args` and `result` as short texts (secrets left out); `errno` by
    name ("" for success), `result` then the sentence; times in seconds: `took_s` in all, of it `queued_s` waiting for
    the device and `driver_s` in its driver; the tokens they cost, the right that let them in, whose `principal` and
    `account` they were; `detail` which model, context or tool they were about. For events `detail` says it all.
    """

    seq: int
    at_s: float
    kind: str
    pid: int = 0
    name: str = ""
    args: str = ""
    result: str = ""
    errno: str = ""
    took_s: float = 0.0
    queued_s: float = 0.0
    driver_s: float = 0.0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    right: str = ""
    detail: dict[str, str] = {}
    call: int = 0
    principal: str = ""
    account: str = ""


@final
class Shutdown(Args, frozen=True, kw_only=True):
    """Stops the kernel: TERM to all, `grace_s`, then the end."""

    grace_s: float = 2.0


INFO = Row(
    0xA0,
    "kernel.info",
    Info,
    KernelInfo,
    Needs("info", "kernel:info"),
    Flag.INLINE | Flag.IDEMPOTENT,
    "About the kernel.",
)
TRACE = Row(
    0xA1,
    "kernel.trace",
    Trace,
    Nothing,
    Needs("trace", "kernel:trace"),
    Flag.STREAM | Flag.IDEMPOTENT,
    "What happened, from the ring in memory: system calls that have ended, and events.",
    TraceRecord,
    says=Says(
        waits="With follow it waits for what happens next; and for its reader, whenever that takes too few items.",
        cancelled="The stream ends; nothing else changes.",
        errors=(
            (Errno.ESRCH, "with follow: there is no such process, nor was there one lately."),
            (Errno.EPIPE, "the reader gives no credit while too much is waiting for it."),
        ),
    ),
)
SHUTDOWN = Row(
    0xA2,
    "kernel.shutdown",
    Shutdown,
    Nothing,
    Needs("shutdown", "kernel:power"),
    Flag.EFFECT,
    "Stops the machine.",
    says=Says(
        waits="Returns at once; the machine goes down behind it.",
        cancelled="It is answered before a cancellation can come; the machine stops all the same.",
        errors=((Errno.EINVAL, "grace_s is not 0 to 600."),),
    ),
)

ROWS = (INFO, TRACE, SHUTDOWN)

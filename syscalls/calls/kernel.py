"""The kernel family, 0xA0: the machine itself."""

from typing import final

from syscalls.calls.process import Nothing
from syscalls.row import Args, Flag, Needs, Result, Row


@final
class Info(Args, frozen=True, kw_only=True):
    """No arguments."""


@final
class KernelInfo(Result, frozen=True, kw_only=True):
    """Version, pid, since when, and how much goes on."""

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


@final
class Trace(Args, frozen=True, kw_only=True):
    """Records of `pid` (None: all the right allows), from sequence `since` on; `follow` goes on until cancelled."""

    pid: int | None = None
    since: int = 0
    follow: bool = False


@final
class TraceRecord(Result, frozen=True, kw_only=True):
    """One thing that happened.

    `kind` is `call` (a system call has ended), or an event: `spawn`, `exit`, `signal`, `fault`, `evict`, `denied`,
    `host_lost`, `host_ready`, `output`, `note`, … For calls: `name`, `args` and `result` as short texts (secrets left
    out), `errno` by name ("" for success), times in seconds, the tokens they cost, the right that let them in. For
    events `detail` says it all.
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
    0xA1, "kernel.trace", Trace, Nothing, Needs("trace", "kernel:trace"), Flag.STREAM | Flag.IDEMPOTENT,
    "What happened, from the ring in memory.", TraceRecord,
)  # fmt: skip
SHUTDOWN = Row(
    0xA2, "kernel.shutdown", Shutdown, Nothing, Needs("shutdown", "kernel:power"), Flag.EFFECT, "Stops the machine."
)

ROWS = (INFO, TRACE, SHUTDOWN)

"""The kernel family, 0xA0, continued: its log, what happens in it, and what it measures."""

from typing import Annotated, Literal, final

from syscalls.calls.account import ModelUse
from syscalls.calls.process import Nothing
from syscalls.errors import Errno
from syscalls.row import MANY, Args, Flag, Needs, Result, Row, Says

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
TEXT_CHARS_MAX = 2000
KINDS_MAX = 64


@final
class Log(Args, frozen=True, kw_only=True):
    """The last `tail` lines of at least `level` after number `since`, then, with `follow`, more until cancelled."""

    level: Level = "info"
    since: int = 0
    tail: int = 1000
    follow: bool = False


@final
class LogRecord(Result, frozen=True, kw_only=True):
    """One line of the kernel's log. `kind` is the event that it tells of, `report` for what a process reported; `pid`
    is the process it is about, or that reported it (0: none); `detail` says the same in fields."""

    seq: int
    at_s: float
    level: Level
    kind: str
    text: str
    pid: int = 0
    detail: dict[str, str] = {}


@final
class Report(Args, frozen=True, kw_only=True):
    """A line for the kernel's log, at most 2000 characters."""

    text: str
    level: Level = "info"


@final
class Events(Args, frozen=True, kw_only=True):
    """Events of `kinds` (none: all) and of `pid` (None: all) after number `since`; `follow` goes on until cancelled.

    Numbers count every event, wanted or not: whoever goes on after the last that it has seen misses none, unless the
    first is beyond what is remembered (`lost` of the first item)."""

    kinds: Annotated[tuple[str, ...], MANY] = ()
    pid: int | None = None
    since: int = 0
    follow: bool = False


@final
class EventRecord(Result, frozen=True, kw_only=True):
    """Something that happened: `spawn`, `exit`, `signal`, `fault`, `evict`, `over_limit`, `host_lost`, `host_ready`,
    `report`, … `lost` on the first item: so many after `since` were forgotten."""

    seq: int
    at_s: float
    kind: str
    pid: int = 0
    detail: dict[str, str] = {}
    lost: int = 0


@final
class Measure(Args, frozen=True, kw_only=True):
    """No arguments."""


@final
class Histogram(Result, frozen=True, kw_only=True):
    """How many were at most each of `bounds`, and above the last (so `counts` is one longer); their `sum`."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float = 0.0


@final
class DeviceGauge(Result, frozen=True, kw_only=True):
    """A device now: generations seated of `slots`, requests that wait, hosts that were started again."""

    name: str
    kind: str
    state: str
    busy: int = 0
    slots: int = 0
    waiting: int = 0
    restarts: int = 0


@final
class Metrics(Result, frozen=True, kw_only=True):
    """What the kernel counts and measures, since it booted.

    `calls` by name and outcome (`ok`, or the errno). `models`: what each did, the kernel's overhead included.
    `histograms`, in seconds: `queue` (the wait for a seat), `ttft` (from the call to the first token), `token` (each
    token after the first), `generation` (in the driver). `processes` by state, sessions and tools included. Memory and
    the trace in bytes; `commits` to the truth went in `groups` transactions.
    """

    at_s: float
    uptime_s: float
    calls: dict[str, dict[str, int]] = {}
    models: tuple[ModelUse, ...] = ()
    histograms: dict[str, Histogram] = {}
    devices: tuple[DeviceGauge, ...] = ()
    processes: dict[str, int] = {}
    contexts: int = 0
    faults: int = 0
    events: int = 0
    memory_bytes: int = 0
    trace_bytes: int = 0
    commits: int = 0
    groups: int = 0


_STREAM = (Errno.EPIPE, "the reader gives no credit while too much is waiting for it.")

LOG = Row(
    0xA3,
    "kernel.log",
    Log,
    Nothing,
    Needs("log", "kernel:log"),
    Flag.STREAM | Flag.IDEMPOTENT,
    "What the kernel says of itself, and what processes reported to it, from the ring in memory.",
    LogRecord,
    says=Says(
        waits="With follow it waits for the next line; and for its reader.",
        cancelled="The stream ends; nothing else changes.",
        errors=((Errno.EINVAL, "tail is below 0."), _STREAM),
    ),
)
EVENTS = Row(
    0xA4,
    "kernel.events",
    Events,
    Nothing,
    Needs("events", "kernel:events"),
    Flag.STREAM | Flag.IDEMPOTENT,
    "What happens in the kernel, system calls left out: births and ends, signals, hosts, faults, limits that are hit.",
    EventRecord,
    says=Says(
        waits="With follow it waits for what happens next; and for its reader.",
        cancelled="The stream ends; nothing else changes. Go on with since = the last seq that was seen.",
        errors=((Errno.EINVAL, "more than 64 kinds."), _STREAM),
    ),
)
METRICS = Row(
    0xA5,
    "kernel.metrics",
    Measure,
    Metrics,
    Needs("metrics", "kernel:metrics"),
    Flag.INLINE | Flag.IDEMPOTENT,
    "Counters, gauges and histograms of the machine, as one struct.",
)
REPORT = Row(
    0xA8,
    "kernel.report",
    Report,
    Nothing,
    Needs("report", "kernel:log"),
    Flag.INLINE | Flag.EFFECT | Flag.JOURNALED,
    "Writes a line into the kernel's log.",
    says=Says(errors=((Errno.EINVAL, "the text is empty, or longer than 2000 characters."),)),
)

ROWS = (LOG, EVENTS, METRICS, REPORT)

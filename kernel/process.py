"""A process: its record, and the law of its states."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, final

import trio

from kernel.accounts.account_record import Account
from kernel.capability import Capability, Held
from kernel.mount import OpenFile
from kernel.panic import KernelPanic
from kernel.signals import Signals
from kernel.wait import Bell, Once
from syscalls.calls.message import Message
from syscalls.calls.process import Exit, Kind, LogLine, ShownTier, State
from syscalls.rights import Right
from syscalls.worker_limits import WorkerLimits

STORY_MAX = 32
LOG_PIECES_MAX = 2000
LOG_CHARS_MAX = 512 * 1024
LOG_PIECE_CHARS_MAX = 8 * 1024

NO_LIMITS = WorkerLimits()
LENT_CHANNEL = 1 << 32
"""The first of the channels that stand for a call that a tool serves; below it they are pids."""
_NOTHING_LENT: Mapping[int, tuple[Capability, ...]] = MappingProxyType({})

TRANSITIONS: frozenset[tuple[State, State]] = frozenset(
    {
        ("ready", "running"),
        ("ready", "waiting"),
        ("ready", "stopped"),
        ("ready", "zombie"),
        ("running", "ready"),
        ("running", "waiting"),
        ("running", "stopped"),
        ("running", "zombie"),
        ("waiting", "ready"),
        ("waiting", "running"),
        ("waiting", "stopped"),
        ("waiting", "zombie"),
        ("stopped", "ready"),
        ("stopped", "running"),
        ("stopped", "waiting"),
        ("stopped", "zombie"),
    }
)
"""The whole law: whatever is not in it is a contradiction of our own. Nothing leaves `zombie` but by being reaped."""


@final
class Process:
    """A program being run, a session or a tool. The table owns it; `state` changes only through the methods here."""

    __slots__ = (
        "_log",
        "account",
        "asks",
        "at_end",
        "bare",
        "calling",
        "child_changed",
        "children",
        "contexts",
        "detached",
        "done",
        "driver_s",
        "ended",
        "ending",
        "exit",
        "faults",
        "files",
        "files_opened",
        "generated_tokens",
        "generating",
        "group",
        "held",
        "host",
        "identity",
        "image",
        "kind",
        "lent",
        "lent_next",
        "limiter",
        "limits",
        "log_changed",
        "log_chars",
        "log_pieces",
        "mailbox",
        "mailbox_bytes",
        "mailbox_changed",
        "model",
        "name",
        "nice",
        "note",
        "outflow",
        "over",
        "package",
        "packages",
        "parent",
        "pid",
        "principal",
        "program",
        "prompt_tokens",
        "resumed",
        "senders",
        "signals",
        "started_s",
        "state",
        "stop_scope",
        "stopped",
        "story",
        "tier",
        "total",
        "worker_pid",
    )  # fmt: skip

    def __init__(
        self,
        *,
        pid: int,
        parent: "Process | None",
        principal: str,
        kind: Kind,
        name: str,
        account: Account,
        held: Held,
        nice: int,
        model: str | None,
        started_s: float,
        limits: WorkerLimits = NO_LIMITS,
        image: str = "",
        package: str = "",
        packages: tuple[str, ...] = (),
    ) -> None:
        # Who it is: never changes.
        self.pid = pid
        self.parent = parent
        self.principal = principal
        self.kind: Kind = kind
        self.name = name
        self.account = account
        self.identity = pid, principal, account.name
        self.model = model
        self.started_s = started_s
        self.limits = limits
        self.image = image
        self.package = package
        self.packages = packages
        self.tier: ShownTier = "pure"
        self.program: int = pid if parent is None or parent.kind == "session" else parent.program
        # What it is at: the gate.
        self.nice = nice
        self.group: int = pid if parent is None or parent.kind == "session" else parent.group
        self.signals: Signals | None = None
        self.state: State = "ready"
        self.stopped = False
        self.resumed = Bell()
        self.generating = 0
        self.calling = 0
        self.story: list[str] = []
        # What it may do: the table of capabilities.
        self.held = held
        self.lent: Mapping[int, tuple[Capability, ...]] = _NOTHING_LENT
        self.lent_next = LENT_CHANNEL
        self.asks = False
        self.bare = ""  # why it can be granted nothing
        # What it has: the family handlers.
        self.children: dict[int, Process] = {}
        self.contexts: set[int] = set()
        self.files: dict[int, OpenFile] = {}
        self.files_opened = 0
        self.mailbox: list[Message] = []
        self.mailbox_bytes = 0
        self.mailbox_changed = Bell()
        self.senders: dict[trio.Event, int] = {}
        """Who waits for room in the mailbox, in line, and for how much."""
        self._log: deque[LogLine] | None = None
        self.log_pieces = 0
        self.log_chars = 0
        self.log_changed = Bell()
        self.child_changed = Bell()
        # How it ends: exec and the table.
        self.exit: Exit | None = None
        self.ended = Once()
        self.at_end: list[Callable[[], None]] = []
        self.ending: str | None = None
        self.over = ""
        self.outflow: Any = None
        self.limiter: Any = None
        self.detached = False
        self.worker_pid = 0
        self.stop_scope: trio.CancelScope | None = None
        # What it did: accounting for ps.
        self.prompt_tokens = 0
        self.generated_tokens = 0
        self.driver_s = 0.0
        self.faults = 0
        self.note = ""
        self.done = 0
        self.total = 0
        # Whatever hosts it (a link and a channel), for signals; None for in-kernel tests.
        self.host: Any = None

    @property
    def rights(self) -> tuple[Right, ...]:
        """What it may do now."""
        return self.held.rights

    def borrow(self, lent: tuple[Capability, ...]) -> int:
        """The channel on which it makes its own calls while it serves one that `lent` came with."""
        channel = self.lent_next
        self.lent_next += 1
        self.lent = {**self.lent, channel: lent}
        return channel

    def give_back(self, channel: int) -> None:
        """That call is over: the channel stays its own, and nothing is lent on it."""
        self.lent = {other: lent for other, lent in self.lent.items() if other != channel} or _NOTHING_LENT

    def begin(self, *, generating: bool) -> None:
        """A call of its begins to wait."""
        self.calling += 1
        self.generating += generating
        self._settle("call")

    def finish(self, *, generating: bool) -> None:
        """A call of its has ended."""
        self.calling -= 1
        self.generating -= generating
        if self.calling < 0 or self.generating < 0:
            raise KernelPanic(self._tale("more calls ended than began"))
        self._settle("return")

    def stop(self) -> None:
        """STOP: from now on its calls are held."""
        if not self.stopped:
            self.stopped = True
            self._settle("STOP")

    def resume(self) -> None:
        """CONT."""
        if self.stopped:
            self.stopped = False
            self.resumed.ring()
            self._settle("CONT")

    @property
    def log(self) -> Sequence[LogLine]:
        """What it printed lately, piece by piece."""
        return self._log or ()

    def keep_line(self, line: LogLine) -> None:
        """Takes one piece of output into the ring."""
        if self._log is None:
            self._log = deque()
        self._log.append(line)
        self.log_pieces += 1
        self.log_chars += len(line.text)
        while len(self._log) > LOG_PIECES_MAX or self.log_chars > LOG_CHARS_MAX:
            self.log_chars -= len(self._log.popleft().text)

    def keep_file(self, file: OpenFile) -> int:
        """Takes an open file; its handle, which is no other's for as long as the process lives."""
        self.files_opened += 1
        self.files[self.files_opened] = file
        return self.files_opened

    def die(self, exit_: Exit) -> None:
        """It has ended; it is a zombie until its parent waits for it."""
        if self.exit is not None:
            raise KernelPanic(self._tale("it ended twice"))
        self.exit = exit_
        self.resumed.ring()
        self.mailbox.clear()
        for room in self.senders:
            room.set()
        self._move("zombie", exit_.status)
        self.ended.set()
        for give_back in self.at_end:
            give_back()

    def _settle(self, why: str) -> None:
        """The state that follows from what it is at; a zombie's late returns change nothing."""
        if self.state == "zombie":
            return
        if self.stopped:
            self._move("stopped", why)
        elif self.generating:
            self._move("running", why)
        elif self.calling:
            self._move("waiting", why)
        else:
            self._move("ready", why)

    def _move(self, to: State, why: str) -> None:
        if to == self.state:
            return
        if (self.state, to) not in TRANSITIONS:
            raise KernelPanic(self._tale(f"{self.state} -> {to} is not allowed"))
        self.story.append(_passage(self.state, to, why))
        del self.story[:-STORY_MAX]
        self.state = to

    def _tale(self, what: str) -> str:
        return f"process {self.pid} ({self.name}): {what}; its story: {'; '.join(self.story) or 'none'}"


@lru_cache(maxsize=256)
def _passage(state: State, to: State, why: str) -> str:
    """The same few words for every process, and one string for them."""
    return f"{state} -> {to} ({why})"

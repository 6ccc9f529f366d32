"""The trace ring: what happened lately, in order, for strace-like reading, top and the demo.

An entry is kept as it was made and becomes text only when somebody reads it: a call that nobody looks at costs one
struct. The ring is bounded in entries and in bytes, and what lies in it is copied: no entry keeps a frame, an argument
or a process alive.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import final

import trio
from msgspec import Struct

from kernel.clock import Clock
from kernel.config import Bounds, TraceConfig
from kernel.watch.tracetext import args_text, result_text, short
from syscalls.calls.kernel import TraceRecord
from syscalls.row import Row

__all__ = ["CallEntry", "Entry", "EventEntry", "Trace", "short"]

DETAIL_CHARS_MAX = 1000
ENTRY_BYTES = 320
"""What an entry takes besides its texts, about."""


@final
class CallEntry(Struct, gc=False):
    """A system call, made when it begins and finished when it ends. `args` and `result` are msgpack as it crossed the
    wire where that is short, else text; "" where they are not kept."""

    number: int
    row: Row
    pid: int
    principal: str
    account: str
    began_s: float
    at_s: float = 0.0
    args: bytes | str = ""
    result: bytes | str = ""
    errno: str = ""
    right: str = ""
    queued_s: float = 0.0
    driver_s: float = 0.0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    facts: dict[str, str] | None = None

    def bytes_kept(self) -> int:
        return ENTRY_BYTES + len(self.args) + len(self.result) + (ENTRY_BYTES if self.facts else 0)

    def record(self, seq: int, kind: str = "call") -> TraceRecord:
        """The entry for readers; kind `begun` is the same call before its end."""
        return TraceRecord(
            seq=seq,
            at_s=self.at_s if kind == "call" else self.began_s,
            kind=kind,
            pid=self.pid,
            call=self.number,
            name=self.row.name,
            args=args_text(self.row, self.args),
            result=result_text(self.row, self.result),
            errno=self.errno,
            took_s=self.at_s - self.began_s if kind == "call" else 0.0,
            queued_s=self.queued_s,
            driver_s=self.driver_s,
            prompt_tokens=self.prompt_tokens,
            generated_tokens=self.generated_tokens,
            right=short(self.right),
            detail=self.facts or {},
            principal=self.principal,
            account=self.account,
        )


@final
class EventEntry(Struct, gc=False):
    """Something that was no call."""

    at_s: float
    kind: str
    pid: int
    detail: dict[str, str]

    def bytes_kept(self) -> int:
        return ENTRY_BYTES + sum(len(key) + len(text) for key, text in self.detail.items())

    def record(self, seq: int) -> TraceRecord:
        """The entry for readers."""
        return TraceRecord(seq=seq, at_s=self.at_s, kind=self.kind, pid=self.pid, detail=self.detail)


Entry = CallEntry | EventEntry


@final
class Trace:
    """A bounded ring of entries. Readers that fall behind miss the oldest and can tell by the sequence numbers.

    `under_way` are the calls that have begun, may wait and have not ended, by their number. `watched` is whether
    somebody waits for what comes next. `settle` has whoever jots calls down add them: before anybody looks, and before
    anything else is added.
    """

    def __init__(
        self,
        clock: Clock,
        records_max: int,
        *,
        bytes_max: int = Bounds().trace_bytes_max,
        config: TraceConfig | None = None,
    ) -> None:
        self._clock = clock
        self._ring: deque[Entry] = deque()
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._next = 1
        self._news: trio.Event | None = None
        self.config = config or TraceConfig()
        self._bytes_kept = 0
        self._calls = 0
        self.watched = False
        self.settle: Callable[[], None] = _nothing
        self.under_way: dict[int, CallEntry] = {}
        self.denials = 0
        self.faults = 0
        self.on_event: Callable[[EventEntry], None] | None = None

    def event(self, kind: str, *, pid: int = 0, **detail: object) -> None:
        """Something happened that was not a call."""
        if kind == "fault":
            self.faults += 1
        texts = {key: str(value)[:DETAIL_CHARS_MAX] for key, value in detail.items()}
        entry = EventEntry(self._clock.now(), kind, pid, texts)
        self.add(entry)
        if self.on_event is not None:
            self.on_event(entry)

    def add(self, entry: Entry) -> None:
        """Takes an entry; the oldest fall out beyond the bounds."""
        self.settle()
        self._ring.append(entry)
        self._added(1, entry.bytes_kept())

    def extend(self, entries: list[CallEntry], size: int) -> None:
        """As `add`, of calls that were jotted down and are counted now; they take `size` bytes."""
        if entries:
            self._calls += len(entries)
            self._ring += entries
            self._added(len(entries), size)

    def _added(self, count: int, size: int) -> None:
        ring = self._ring
        self._next += count
        self._bytes_kept += size
        while len(ring) > self._records_max or self._bytes_kept > self._bytes_max:
            self._bytes_kept -= ring.popleft().bytes_kept()
        if self.watched:
            self.wake()

    def since(self, seq: int, wanted: Callable[[Entry], bool] | None = None) -> Iterator[TraceRecord]:
        """Records after `seq`, oldest first: all, or those whose entry is `wanted`. What is added while it is read is
        not among them."""
        self.settle()
        newest, ring = self._next - 1, self._ring
        fresh = min(max(newest - seq, 0), len(ring))
        skipped = len(ring) - fresh
        batch = [ring[skipped + i] for i in range(fresh)] if fresh * 4 < len(ring) else list(ring)[skipped:]
        for number, entry in enumerate(batch, newest - fresh + 1):
            if wanted is None or wanted(entry):
                yield entry.record(number)

    @property
    def newest(self) -> int:
        """The sequence number of the newest record, 0 before the first."""
        self.settle()
        return self._next - 1

    @property
    def bytes_kept(self) -> int:
        """What the ring takes, about."""
        self.settle()
        return self._bytes_kept

    @property
    def calls(self) -> int:
        """Calls that have ended, kept or not."""
        self.settle()
        return self._calls

    def count(self) -> None:
        """One more call has ended."""
        self._calls += 1

    def wake(self) -> None:
        """There is something to see for whoever waits."""
        news, self._news = self._news, None
        self.watched = False
        if news is not None:
            news.set()

    async def changed(self) -> None:
        """Waits for the next record, or for the next call that begins to wait."""
        if self._news is None:
            self._news = trio.Event()
            self.watched = True
        await self._news.wait()


def _nothing() -> None:
    """Nobody jots anything down."""

"""The trace ring: what happened lately, in order, for strace-like reading, top and the demo.

An entry is kept as it was made and becomes text only when somebody reads it; calls that never waited lie in pages, and
become entries only then. The ring is bounded in entries and in bytes, and what lies in it is copied: no entry keeps a
frame, an argument or a process alive.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import final

import trio
from msgspec import Struct

from kernel.clock import Clock
from kernel.config import Bounds, TraceConfig
from kernel.watch.callentry import ENTRY_BYTES, CallEntry
from kernel.watch.pages import PAGE_CALLS, PAGED_BYTES_MAX, Page
from syscalls.calls.kernel import TraceRecord

DETAIL_CHARS_MAX = 1000


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
    anything else is added; at `page_calls` of them at the latest, for a page that fills the ring would empty it.
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
        self._ring: deque[Entry | Page] = deque()
        self._held = 0
        self._records_max = records_max
        self._bytes_max = bytes_max
        self.page_calls = max(1, min(PAGE_CALLS, records_max, bytes_max // PAGED_BYTES_MAX))
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

    def extend(self, page: Page) -> None:
        """As `add`, of calls that were jotted down and are counted now."""
        self._calls += page.count
        self._ring.append(page)
        self._added(page.count, page.bytes_kept())

    def _added(self, count: int, size: int) -> None:
        self._next += count
        self._held += count
        self._bytes_kept += size
        while self._held > self._records_max or self._bytes_kept > self._bytes_max:
            oldest = self._ring.popleft()
            self._held -= _entries_in(oldest)
            self._bytes_kept -= oldest.bytes_kept()
        if self.watched:
            self.wake()

    def entries(self, seq: int) -> Iterator[tuple[int, Entry]]:
        """What came after `seq` with its numbers, oldest first. What is added while it is read is not among it."""
        self.settle()
        fresh = min(max(self._next - 1 - seq, 0), self._held)
        return enumerate(_last(self._ring, fresh), self._next - fresh)

    def since(self, seq: int) -> Iterator[TraceRecord]:
        """The same as records."""
        return (entry.record(number) for number, entry in self.entries(seq))

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


def _entries_in(piece: Entry | Page) -> int:
    return piece.count if isinstance(piece, Page) else 1


def _last(ring: deque[Entry | Page], count: int) -> Iterator[Entry]:
    """The last `count` entries as they are now."""
    pieces = list[Entry | Page]()
    for piece in reversed(ring):
        if count <= 0:
            break
        pieces.append(piece)
        count -= _entries_in(piece)
    for piece in reversed(pieces):
        if isinstance(piece, Page):
            yield from piece.entries(skipped=max(-count, 0))
        else:
            yield piece
        count = 0


def _nothing() -> None:
    """Nobody jots anything down."""

"""The trace ring: what happened lately, in order, for strace-like reading, top and the demo."""

from collections import deque
from collections.abc import Iterator
from typing import final

import trio
from msgspec.structs import replace

from kernel.clock import Clock
from syscalls.calls.kernel import TraceRecord

SHORT_CHARS_MAX = 120
DETAIL_CHARS_MAX = 1000


@final
class Trace:
    """A bounded ring of records. Readers that fall behind miss the oldest and can tell by the sequence numbers."""

    def __init__(self, clock: Clock, records_max: int) -> None:
        self._clock = clock
        self._ring: deque[TraceRecord] = deque(maxlen=records_max)
        self._next = 1
        self._news = trio.Event()
        self.calls = 0
        self.denials = 0
        self.faults = 0

    def event(self, kind: str, *, pid: int = 0, **detail: object) -> None:
        """Something happened that was not a call."""
        if kind == "fault":
            self.faults += 1
        texts = {key: str(value)[:DETAIL_CHARS_MAX] for key, value in detail.items()}
        self.add(TraceRecord(seq=0, at_s=self._clock.now(), kind=kind, pid=pid, detail=texts))

    def add(self, record: TraceRecord) -> None:
        """Takes a record and gives it its sequence number."""
        if record.kind == "call":
            self.calls += 1
            self.denials += record.errno == "EPERM"
        self._ring.append(replace(record, seq=self._next))
        self._next += 1
        news, self._news = self._news, trio.Event()
        news.set()

    def since(self, seq: int, pid: int | None = None) -> Iterator[TraceRecord]:
        """Records after `seq`, oldest first, of one process or of all."""
        fresh = min(self._next - 1 - seq, len(self._ring)) if seq < self._next else 0
        ring = self._ring
        batch = [ring[len(ring) - fresh + i] for i in range(fresh)] if fresh * 4 < len(ring) else tuple(ring)
        return (r for r in batch if r.seq > seq and (pid is None or r.pid == pid))

    @property
    def newest(self) -> int:
        """The sequence number of the newest record, 0 before the first."""
        return self._next - 1

    async def changed(self) -> None:
        """Waits for the next record."""
        await self._news.wait()


def short(value: object) -> str:
    """One line of `value` for people, cut to a bound."""
    text = repr(value) if not isinstance(value, str) else value
    text = " ".join(text.split())
    return text if len(text) <= SHORT_CHARS_MAX else text[: SHORT_CHARS_MAX - 1] + "…"

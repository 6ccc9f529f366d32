"""What the gate writes down of each call: who made it, what let it in, what it cost, how it ended."""

from collections import Counter
from operator import itemgetter
from typing import Any, Final, final

from msgspec import Raw

from kernel.clock import Clock
from kernel.trap import Trap
from kernel.watch.callentry import CallEntry
from kernel.watch.metrics import Metrics
from kernel.watch.pages import Page
from kernel.watch.trace import Trace
from kernel.watch.tracetext import has_secrets, keep_args, keep_result, short
from syscalls.errors import Errno, SyscallError
from syscalls.row import Flag, Row
from syscalls.table import TABLE

_ROW: Final = itemgetter(0)
Jotted = tuple[Trap, bytes, bytes, float]
"""A call, its arguments and result as they crossed the wire, and when it ended, in ticks."""


@final
class Recorder:
    """Fills the trace as kernos.toml's [trace] says: `off` counts calls and keeps none; `calls` keeps them without
    arguments and results; `full` with both. Of calls that succeed one in `every` is kept, of those that fail each.

    What a call costs while its caller waits is code and memory that are cold, once: a page of calls taken in together
    costs a part. So the many that never wait are only jotted down, until there is a page of them or somebody looks:
    the gate adds to `jotted` the calls of rows that are in `jots`.
    """

    def __init__(self, trace: Trace, clock: Clock, metrics: Metrics) -> None:
        self.trace = trace
        self.ticks = clock.ticks
        self.jotted: list[Jotted] = []
        self.jots: set[int] = set()
        self.page_calls = trace.page_calls
        self._clock = clock
        self._metrics = metrics
        self._on = trace.config.level != "off"
        self._full = trace.config.level == "full"
        self._every = trace.config.every
        self._number = 0
        trace.settle = self.take_in

    def switch(self, on: bool) -> None:
        """Whether calls are kept from now on."""
        self.take_in()
        self.jots.clear()
        self._on = on

    def begin(self, trap: Trap, raw: Raw) -> None:
        """A call has begun that may wait: it is under way until it is ended."""
        if not self._on:
            return
        entry = trap.entry = self._entry(trap, self._clock.now())
        entry.args = keep_args(trap.row, bytes(raw), None) if self._full else ""
        self.trace.under_way[entry.number] = entry
        if self.trace.watched:
            self.trace.wake()

    def at_once(self, trap: Trap, raw: bytes, args: Any, packed: bytes, result: Any) -> None:
        """As `done`, of a call that never waited. Others of its row are only jotted down from now on, if they may."""
        if self._on and self._full and self._every == 1 and _open(trap.row):
            self.jots.add(trap.row.number)
        self.done(trap, raw, args, packed, result)

    def done(self, trap: Trap, raw: Raw | bytes, args: Any, packed: bytes, result: Any) -> None:
        """A call was served."""
        self.trace.count()
        self._metrics.served[trap.row.name] += 1
        if not self._on:
            return
        entry = self._end(trap)
        if self._every > 1 and entry.number % self._every:
            return
        if self._full:
            entry.args = keep_args(trap.row, bytes(raw), args)
            entry.result = short(trap.detail) if trap.detail else keep_result(trap.row, packed, result)
        self.trace.add(entry)

    def failed(self, trap: Trap, raw: Raw | bytes, args: Any, errno: Errno, why: str) -> None:
        """A call was refused, has failed, was cancelled or has lost its caller."""
        self.trace.count()
        self.trace.denials += errno is Errno.EPERM
        self._metrics.failed[trap.row.name, errno] += 1
        if not self._on:
            return
        entry = self._end(trap)
        entry.errno = errno.name
        if self._full:
            entry.args = keep_args(trap.row, bytes(raw), args)
            entry.result = short(why)
        self.trace.add(entry)

    def refused(self, trap: Trap, raw: Raw | bytes, args: Any, refusal: SyscallError) -> None:
        """As `failed`, with the error that the caller is told."""
        self.failed(trap, raw, args, refusal.errno, refusal.message)

    def take_in(self) -> None:
        """Adds to the trace what was jotted down."""
        jotted = self.jotted
        if not jotted:
            return
        shift = self._clock.at(0.0)
        calls = [
            (
                trap.row.number,
                trap.process.identity,
                trap.admitted[0].text if trap.admitted else "",
                trap.began_s,
                ticks + shift,
                raw,
                short(trap.detail) if trap.detail else packed,
            )
            for trap, raw, packed, ticks in jotted
        ]
        jotted.clear()
        served = self._metrics.served
        for number, times in Counter(map(_ROW, calls)).items():
            served[TABLE[number].name] += times
        page = Page.of(self._number + 1, calls)
        self._number += len(calls)
        self.trace.extend(page)

    def _entry(self, trap: Trap, began_s: float) -> CallEntry:
        self._number += 1
        return CallEntry(self._number, trap.row, *trap.process.identity, began_s)

    def _end(self, trap: Trap) -> CallEntry:
        entry = trap.entry
        if entry is None:
            self.take_in()
            entry = self._entry(trap, trap.began_s)
        else:
            self.trace.under_way.pop(entry.number, None)
        entry.at_s = self._clock.now()
        entry.right = trap.right
        entry.queued_s = trap.queued_s
        entry.driver_s = trap.driver_s
        entry.prompt_tokens = trap.prompt_tokens
        entry.generated_tokens = trap.generated_tokens
        entry.facts = trap.facts
        return entry


def _open(row: Row) -> bool:
    """Whether nothing of the row's arguments and result is secret."""
    return not (Flag.SECRET in row.flags or row.result is None or has_secrets(row.args) or has_secrets(row.result))

"""What the gate writes down of each call: who made it, what let it in, what it cost, how it ended."""

from typing import Any, final

from msgspec import Raw

from kernel.clock import Clock
from kernel.trap import Trap
from kernel.watch.metrics import Metrics
from kernel.watch.trace import ENTRY_BYTES, CallEntry, Trace
from kernel.watch.tracetext import KEPT_BYTES_MAX, has_secrets, keep_args, keep_result, short
from syscalls.errors import Errno, SyscallError
from syscalls.row import Flag, Row

_Jotted = tuple[int, Trap, bytes, bytes, float]
"""A call's number, the call, its arguments and result as they crossed the wire, and when it ended, in ticks."""
PAGE = 64
"""Calls that are jotted down, at most, before they are taken into the trace."""


@final
class Recorder:
    """Fills the trace as kernos.toml's [trace] says: `off` counts calls and keeps none; `calls` keeps them without
    arguments and results; `full` with both. Of calls that succeed one in `every` is kept, of those that fail each.

    What a call costs while its caller waits is code that runs cold, once: a page of calls taken in together costs a
    third. So the many that never wait are only jotted down, until there is a page of them or somebody looks.
    """

    def __init__(self, trace: Trace, clock: Clock, metrics: Metrics) -> None:
        self._trace = trace
        self._clock = clock
        self._metrics = metrics
        self.on = trace.config.level != "off"
        self._full = trace.config.level == "full"
        self._every = trace.config.every
        self._number = 0
        self._jotted: list[_Jotted] = []
        self._jots: dict[int, bool] = {}
        """Whether a row's calls may be jotted down."""
        trace.settle = self._take_in

    def begin(self, trap: Trap, raw: Raw) -> None:
        """A call has begun that may wait: it is under way until it is ended."""
        if not self.on:
            return
        entry = trap.entry = self._entry(trap, self._clock.now())
        entry.args = keep_args(trap.row, bytes(raw), None) if self._full else ""
        self._trace.under_way[entry.number] = entry
        if self._trace.watched:
            self._trace.wake()

    def at_once(self, trap: Trap, raw: bytes, args: Any, packed: bytes, result: Any) -> None:
        """As `done`, of a call that never waited."""
        if not self.on:
            self._trace.count()
            self._metrics.served[trap.row.name] += 1
            return
        number = trap.row.number
        if self._jots.get(number) and len(raw) + len(packed) <= KEPT_BYTES_MAX:
            self._number += 1
            self._jotted.append((self._number, trap, raw, packed, self._clock.ticks()))
            if len(self._jotted) >= PAGE or self._trace.watched:
                self._take_in()
            return
        if number not in self._jots:
            self._jots[number] = self._full and self._every == 1 and _open(trap.row)
        self.done(trap, raw, args, packed, result)

    def done(self, trap: Trap, raw: Raw | bytes, args: Any, packed: bytes, result: Any) -> None:
        """A call was served."""
        self._trace.count()
        self._metrics.served[trap.row.name] += 1
        if not self.on:
            return
        entry = self._end(trap)
        if self._every > 1 and entry.number % self._every:
            return
        if self._full:
            entry.args = keep_args(trap.row, bytes(raw), args)
            entry.result = short(trap.detail) if trap.detail else keep_result(trap.row, packed, result)
        self._trace.add(entry)

    def failed(self, trap: Trap, raw: Raw | bytes, args: Any, errno: Errno, why: str) -> None:
        """A call was refused, has failed, was cancelled or has lost its caller."""
        self._trace.count()
        self._trace.denials += errno is Errno.EPERM
        self._metrics.failed[trap.row.name, errno] += 1
        if not self.on:
            return
        entry = self._end(trap)
        entry.errno = errno.name
        if self._full:
            entry.args = keep_args(trap.row, bytes(raw), args)
            entry.result = short(why)
        self._trace.add(entry)

    def refused(self, trap: Trap, raw: Raw | bytes, args: Any, refusal: SyscallError) -> None:
        """As `failed`, with the error that the caller is told."""
        self.failed(trap, raw, args, refusal.errno, refusal.message)

    def _take_in(self) -> None:
        """Adds to the trace what was jotted down."""
        page, self._jotted = self._jotted, []
        served = self._metrics.served
        size = ENTRY_BYTES * len(page)
        at = self._clock.at
        entries = []
        for number, trap, raw, packed, ticks in page:
            row, process = trap.row, trap.process
            served[row.name] += 1
            kept = short(trap.detail) if trap.detail else packed
            size += len(raw) + len(kept)
            account = process.account.name
            entries.append(
                CallEntry(
                    number,
                    row,
                    process.pid,
                    process.principal,
                    account,
                    trap.began_s,
                    at(ticks),
                    raw,
                    kept,
                    "",
                    trap.right,
                )
            )
        self._trace.extend(entries, size)

    def _entry(self, trap: Trap, began_s: float) -> CallEntry:
        self._number += 1
        process = trap.process
        return CallEntry(self._number, trap.row, process.pid, process.principal, process.account.name, began_s)

    def _end(self, trap: Trap) -> CallEntry:
        entry = trap.entry
        if entry is None:
            entry = self._entry(trap, trap.began_s)
        else:
            self._trace.under_way.pop(entry.number, None)
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

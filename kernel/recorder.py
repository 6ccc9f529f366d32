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


@final
class Recorder:
    """Fills the trace as kernos.toml's [trace] says: `off` counts calls and keeps none; `calls` keeps them without
    arguments and results; `full` with both. Of calls that succeed one in `every` is kept, of those that fail each."""

    def __init__(self, trace: Trace, clock: Clock, metrics: Metrics) -> None:
        self._trace = trace
        self._clock = clock
        self._metrics = metrics
        self._on = trace.config.level != "off"
        self._full = trace.config.level == "full"
        self._every = trace.config.every
        self._number = 0
        self._opens: dict[int, bool] = {}

    def begin(self, trap: Trap, raw: Raw) -> None:
        """A call has begun that may wait: it is under way until it is ended."""
        if not self._on:
            return
        entry = trap.entry = self._entry(trap, self._clock.now())
        entry.args = keep_args(trap.row, bytes(raw), None) if self._full else ""
        self._trace.under_way[entry.number] = entry
        if self._trace.watched:
            self._trace.wake()

    def done(self, trap: Trap, raw: Raw, args: Any, packed: bytes, result: Any) -> None:
        """A call was served."""
        self._trace.calls += 1
        self._metrics.served[trap.row.name] += 1
        if not self._on:
            return
        if trap.entry is None and self._full and self._every == 1:
            self._at_once(trap, bytes(raw), args, packed, result)
            return
        entry = self._end(trap)
        if self._every > 1 and entry.number % self._every:
            return
        if self._full:
            entry.args = keep_args(trap.row, bytes(raw), args)
            entry.result = short(trap.detail) if trap.detail else keep_result(trap.row, packed, result)
        self._trace.add(entry)

    def failed(self, trap: Trap, raw: Raw, args: Any, errno: Errno, why: str) -> None:
        """A call was refused, has failed, was cancelled or has lost its caller."""
        self._trace.calls += 1
        self._trace.denials += errno is Errno.EPERM
        self._metrics.failed[trap.row.name, errno] += 1
        if not self._on:
            return
        entry = self._end(trap)
        entry.errno = errno.name
        if self._full:
            entry.args = keep_args(trap.row, bytes(raw), args)
            entry.result = short(why)
        self._trace.add(entry)

    def refused(self, trap: Trap, raw: Raw, args: Any, refusal: SyscallError) -> None:
        """As `failed`, with the error that the caller is told."""
        self.failed(trap, raw, args, refusal.errno, refusal.message)

    def _at_once(self, trap: Trap, raw: bytes, args: Any, packed: bytes, result: Any) -> None:
        """As `_end` and what follows it, for the many calls that never wait: one struct, made whole."""
        self._number += 1
        row, process = trap.row, trap.process
        size = len(raw) + len(packed)
        whole = size <= KEPT_BYTES_MAX and not trap.detail and self._open(row)
        entry = CallEntry(
            self._number,
            row,
            process.pid,
            process.principal,
            process.account.name,
            trap.began_s,
            self._clock.now(),
            raw if whole else keep_args(row, raw, args),
            packed if whole else short(trap.detail) if trap.detail else keep_result(row, packed, result),
            "",
            trap.right,
            trap.queued_s,
            trap.driver_s,
            trap.prompt_tokens,
            trap.generated_tokens,
        )
        if whole:
            self._trace.add_sized(entry, ENTRY_BYTES + size)
        else:
            self._trace.add(entry)

    def _open(self, row: Row) -> bool:
        """Whether nothing of the row's arguments and result is secret."""
        known = self._opens.get(row.number)
        if known is None:
            hidden = Flag.SECRET in row.flags or row.result is None or has_secrets(row.args) or has_secrets(row.result)
            known = self._opens[row.number] = not hidden
        return known

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

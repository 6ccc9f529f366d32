"""The kernel's log: what happened that its operator should read, in sentences; and what processes reported.

Events are made where things happen (kernel/watch/trace.py); the table here says which of them are worth a line, how
grave they are, and how they read.
"""

from collections import defaultdict
from typing import NamedTuple, final

from kernel.config import Bounds
from kernel.watch.ring import Ring
from kernel.watch.trace import EventEntry, Trace
from syscalls.calls.watch import Level

LINES: dict[str, tuple[Level, str]] = {
    "boot": ("info", "kernos {version} is up"),
    "power": ("info", "{signal}: the machine stops"),
    "spawn": ("debug", "process {pid} ({name}, {type}) was started by {parent}"),
    "exit": ("debug", "process {pid} has ended: {status} {error}"),
    "signal": ("debug", "{signal} to process {pid}"),
    "grace_over": ("warning", "process {pid} did not end in its grace time: its worker is killed"),
    "limit": ("warning", "process {pid} is out of time ({limit})"),
    "over_limit": ("warning", "account {account} is out of {resource}: its limit is {limit}"),
    "overrun": ("warning", "a driver did {excess} tokens more than the {held} that process {pid} had held"),
    "host_ready": ("info", "device {device} is ready: host {host}, {restarts} restarts"),
    "host_lost": ("warning", "device {device}: host {host} died ({status})"),
    "host_failed": ("error", "device {device} cannot be served: {error}"),
    "host_unloaded": ("info", "device {device} was unloaded"),
    "model_failed": ("error", "model {model} cannot be loaded: {error}"),
    "reissue": ("warning", "a generation on {device} goes on after {generated} tokens on a new host"),
    "recovered": (
        "debug",
        "{device}: nobody asked for {read} tokens read, {generated} made: kernel:overhead pays",
    ),
    "window_refused": ("warning", "a host refused a prompt of {prompt_tokens} tokens: {why}"),
    "recall_by_words": ("warning", "recall goes by words alone: {error}"),
    "index_waits": ("warning", "pages wait to be indexed: {error}"),
    "zygote_ready": ("debug", "zygote {host} is ready"),
    "zygote_lost": ("warning", "zygote {host} died"),
    "trace_file": ("error", "the trace file: {error}, {lost} records lost"),
    "ledger_failed": ("error", "what accounts used could not be written: {error}"),
    "unswept": ("warning", "context {context} could not be dropped: {error}"),
    "extension_loaded": ("info", "{extension} is loaded: {trust} trusts it"),
    "extension_disabled": ("error", "{what} {name} is disabled until the next boot, the kernel does without: {why}"),
    "bug": ("error", "a bug of the kernel in {call}: {error}"),
    "report": ("info", "{text}"),
}
"""By kind of event. What is not here is no line of the log."""


class Line(NamedTuple):
    """One line; what it tells of is the event's."""

    level: Level
    event: EventEntry

    @property
    def text(self) -> str:
        """The sentence."""
        template = LINES[self.event.kind][1]
        return " ".join(template.format_map(defaultdict(str, self.event.detail, pid=str(self.event.pid))).split())


@final
class Klog:
    """Listens to the trace's events: keeps them all in one ring, and those that are lines in another, so that neither
    a flood of calls nor one of faults drives out what an operator looks for."""

    def __init__(self, trace: Trace, bounds: Bounds) -> None:
        self.events: Ring[EventEntry] = Ring(bounds.events_max)
        self.lines: Ring[Line] = Ring(bounds.log_lines_max)
        self._trace = trace
        trace.on_event = self._take

    def report(self, pid: int, level: Level, text: str) -> None:
        """A line of a process."""
        self._trace.event("report", pid=pid, level=level, text=text)

    def _take(self, event: EventEntry) -> None:
        self.events.add(event)
        known = LINES.get(event.kind)
        if known is not None:
            level = event.detail.get("level") if event.kind == "report" else known[0]
            self.lines.add(Line(level or known[0], event))  # type: ignore[arg-type]

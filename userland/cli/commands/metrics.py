"""`kernos metrics`: what the kernel counts and measures."""

from collections.abc import Iterator

import click

from syscalls.calls import watch
from syscalls.calls.watch import Histogram, Metrics
from userland.cli.commands.account import MODEL_COLUMNS
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import plain, show_value, write_lines
from userland.cli.session import Session
from userland.cli.table import Column, render
from userland.cli.values import bytes_count, clock_time, of_total

_CALLS = (
    Column("CALL", lambda row: row[0]),
    Column("OK", lambda row: str(row[1].get("ok", 0)), right=True),
    Column("FAILED", lambda row: " ".join(f"{name}:{count}" for name, count in row[1].items() if name != "ok") or "-"),
)
_DEVICES = (
    Column("DEVICE", lambda d: d.name),
    Column("KIND", lambda d: d.kind),
    Column("STATE", lambda d: d.state),
    Column("BUSY", lambda d: of_total(d.busy, d.slots), right=True),
    Column("WAITING", lambda d: str(d.waiting), right=True),
    Column("RESTARTS", lambda d: str(d.restarts), right=True),
)
_TIMES = (
    Column("SECONDS", lambda row: row[0]),
    Column("COUNT", lambda row: str(sum(row[1].counts)), right=True),
    Column("MEAN", lambda row: f"{row[1].sum / sum(row[1].counts):.4f}", right=True),
    Column("P50", lambda row: _quantile(row[1], 0.5), right=True),
    Column("P95", lambda row: _quantile(row[1], 0.95), right=True),
    Column("P99", lambda row: _quantile(row[1], 0.99), right=True),
)


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos metrics                     calls, devices, models and times since the kernel booted
  kernos metrics -o json | jq '.histograms.ttft'
""",
)
@output("table", "json")
@which_kernel
@click.pass_obj
def metrics(session: Session, *, output: str) -> None:
    """Show counters, gauges and histograms of the machine."""
    with session.link() as link:
        told: Metrics = link.call(watch.METRICS, watch.Measure())
    if output == "json":
        show_value(plain(told), output=output)
    else:
        write_lines(lines(told))


def lines(told: Metrics) -> Iterator[str]:
    """All of it as tables."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(told.processes.items()))
    yield f"up {clock_time(told.uptime_s)}   processes {states}   contexts {told.contexts}   faults {told.faults}"
    yield (
        f"memory {bytes_count(told.memory_bytes)}   trace {bytes_count(told.trace_bytes)}   events {told.events}   "
        f"commits {told.commits} in {told.groups} transactions"
    )
    timed = [(name, each) for name, each in told.histograms.items() if sum(each.counts)]
    for columns, rows in (
        (_DEVICES, told.devices),
        (MODEL_COLUMNS, told.models),
        (_TIMES, timed),
        (_CALLS, sorted(told.calls.items())),
    ):
        if rows:
            yield ""
            yield from render(columns, rows)


def _quantile(told: Histogram, share: float) -> str:
    """The bound below which so large a share lies."""
    wanted, seen = share * sum(told.counts), 0
    for bound, count in zip(told.bounds, told.counts, strict=False):
        seen += count
        if seen >= wanted:
            return f"<={bound:g}"
    return f">{told.bounds[-1]:g}"

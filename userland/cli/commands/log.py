"""`kernos log` and `kernos events`: what the kernel says of itself, and what happens in it."""

import click

from syscalls.calls import watch
from syscalls.calls.watch import LEVELS, EventRecord, Level, LogRecord
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import json_line, terminal_width, write_lines
from userland.cli.session import Session
from userland.cli.table import clean, cut

_TAIL = 200


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos log                        the last lines: hosts that died, limits that were hit, …
  kernos log -f --level warning     what goes wrong, as it happens
  kernos log -o json | jq .kind     one JSON object per line
""",
)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, until Ctrl-C")
@click.option("--level", type=click.Choice(LEVELS), default="info", help="At least so grave  [default: info]")
@click.option(
    "--tail", type=click.IntRange(0), default=_TAIL, metavar="N", help=f"The last N lines  [default: {_TAIL}]"
)
@click.option("--since", type=click.IntRange(0), default=0, metavar="SEQ", help="Only lines after number SEQ")
@output("table", "json")
@which_kernel
@click.pass_obj
def log(session: Session, *, follow: bool, level: Level, tail: int, since: int, output: str) -> None:
    """Show the kernel's own log."""
    with session.link() as link:
        for record in link.stream(watch.LOG, watch.Log(level=level, tail=tail, since=since, follow=follow)):
            write_lines([json_line(record) if output == "json" else line_of(record)])


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos events                             births, ends, signals, hosts, faults, limits
  kernos events -f -k exit,over_limit       only these, as they happen
  kernos events --since 120 -o json         go on where a reader stopped
""",
)
@click.option("-f", "--follow", is_flag=True, help="Go on as things happen, until Ctrl-C")
@click.option("-k", "--kind", "kinds", metavar="KIND,…", default="", help="Only these kinds")
@click.option("--pid", type=int, help="Only of this process")
@click.option("--since", type=click.IntRange(0), default=0, metavar="SEQ", help="Only events after number SEQ")
@output("table", "json")
@which_kernel
@click.pass_obj
def events(session: Session, *, follow: bool, kinds: str, pid: int | None, since: int, output: str) -> None:
    """Show what happens in the kernel, system calls left out (see kernos trace)."""
    wanted = tuple(filter(None, (kind.strip() for kind in kinds.split(","))))
    with session.link() as link:
        for record in link.stream(watch.EVENTS, watch.Events(kinds=wanted, pid=pid, since=since, follow=follow)):
            write_lines([json_line(record) if output == "json" else event_line(record)])


def line_of(record: LogRecord) -> str:
    """`12.345 warning  [17] the sentence`."""
    who = f"[{record.pid}] " if record.kind == "report" else ""
    return _fitted(f"{record.at_s:10.3f}  {record.level:7}  {who}{record.text}")


def event_line(record: EventRecord) -> str:
    """`12.345  #120  exit  pid=7 status=done`."""
    detail = " ".join(f"{name}={text!r}" if " " in text else f"{name}={text}" for name, text in record.detail.items())
    who = f"pid={record.pid} " if record.pid else ""
    return _fitted(f"{record.at_s:10.3f}  #{record.seq:<6} {record.kind:14} {who}{detail}")


def _fitted(line: str) -> str:
    width = terminal_width()
    return clean(line) if width is None else cut(clean(line), width)

"""`kernos ps`: the process table."""

import time

import click

from syscalls.calls import process
from syscalls.calls.process import ProcessInfo
from syscalls.link.blocking import BlockingLink
from userland.cli.options import SETTINGS, lists, which_kernel
from userland.cli.output import is_terminal, show_rows, write
from userland.cli.session import Session
from userland.cli.table import Column
from userland.cli.values import clock_time, money, of_total

CLEAR = "\x1b[H\x1b[2J"


def command_of(info: ProcessInfo) -> str:
    """Programs by name; what is the kernel's own in brackets, as Unix shows kernel threads."""
    return info.name if info.kind == "program" else f"[{info.name}]"


def note_of(info: ProcessInfo) -> str:
    """What it says it is at, and how far."""
    steps = f"{info.done}/{info.total}" if info.total else ""
    return " ".join(part for part in (steps, info.note) if part)


def tokens_of(info: ProcessInfo) -> str:
    """Tokens charged, of those it may use where there is a limit."""
    return f"{info.tokens}/{info.tokens_max}" if info.tokens_max is not None else str(info.tokens)


COLUMNS = (
    Column("PID", lambda p: str(p.pid), right=True),
    Column("PPID", lambda p: str(p.ppid), right=True),
    Column("UID", lambda p: p.principal),
    Column("STAT", lambda p: p.state),
    Column("NI", lambda p: str(p.nice), right=True),
    Column("MODEL", lambda p: p.model or "-"),
    Column("CTX", lambda p: of_total(p.context_tokens, p.window_tokens), right=True),
    Column("TOK/S", lambda p: f"{p.tokens_per_s:.1f}" if p.tokens_per_s else "-", right=True),
    Column("TOKENS", tokens_of, right=True),
    Column("COST", lambda p: money(p.money_micros), right=True),
    Column("QUEUED", lambda p: str(p.queued) if p.queued else "-", right=True, wide=True),
    Column("FAULTS", lambda p: str(p.faults), right=True, wide=True),
    Column("WORKER", lambda p: str(p.worker) if p.worker else "-", right=True, wide=True),
    Column("TIME", lambda p: clock_time(p.wall_s), right=True),
    Column("COMMAND", command_of),
    Column("NOTE", note_of, wide=True),
)


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos ps                 your programs
  kernos ps -a -o wide      everybody's, sessions and tools too, with what they are at
  kernos ps -q              only the pids, as in: kernos kill $(kernos ps -q)
  kernos ps -w              again every second until Ctrl-C
  kernos ps -o json | jq '.[].tokens'
""",
)
@click.option("-a", "--all", "everybody", is_flag=True, help="Other principals' processes, sessions and tools too")
@click.option("-w", "--watch", is_flag=True, help="Again and again until Ctrl-C")
@click.option("--interval", type=click.FloatRange(0.1), default=1.0, metavar="SECONDS", help="How often, with -w")
@lists
@which_kernel
@click.pass_obj
def ps(
    session: Session,
    *,
    everybody: bool,
    watch: bool,
    interval: float,
    output: str,
    quiet: bool,
    no_trunc: bool,
) -> None:
    """List processes: who runs, on which model, with how many tokens."""
    with session.link() as link:
        while True:
            found = processes(link, everybody=everybody)
            if watch and is_terminal():
                write(CLEAR)
            show_rows(found, COLUMNS, name=lambda p: str(p.pid), output=output, quiet=quiet, whole=no_trunc)
            if not watch:
                return
            time.sleep(interval)


def processes(link: BlockingLink, *, everybody: bool) -> tuple[ProcessInfo, ...]:
    """The process table, by pid."""
    found: process.Processes = link.call(process.LIST, process.ListProcesses(all=everybody))
    return tuple(sorted(found.processes, key=lambda info: info.pid))

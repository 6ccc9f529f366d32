"""`kernos top`: processes and the machine, again and again."""

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import click

from syscalls.calls import kernel
from syscalls.calls.process import ProcessInfo
from syscalls.link.blocking import BlockingLink
from userland.cli.commands.ps import COLUMNS, processes
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import coloured, is_terminal, json_line, table_lines, terminal_width, write, write_lines
from userland.cli.session import Session
from userland.cli.table import cut
from userland.cli.values import clock_time, count

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_SORTS: dict[str, tuple[str, Callable[[ProcessInfo], float | str]]] = {
    "p": ("pid", lambda p: p.pid),
    "t": ("tokens", lambda p: -p.tokens),
    "s": ("speed", lambda p: -p.tokens_per_s),
    "c": ("context", lambda p: -p.context_tokens),
    "m": ("money", lambda p: -p.money_micros),
    "u": ("queued", lambda p: -p.queued),
    "w": ("wall", lambda p: -p.wall_s),
    "n": ("name", lambda p: p.name),
}
_BY_NAME = {name: key for key, (name, _) in _SORTS.items()}
_ORDER = {"running": 0, "waiting": 1, "ready": 1, "stopped": 2, "zombie": 3}


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos top                until q
  kernos top -n 1           one picture; so it is too when stdout is no terminal
  kernos top -n 1 --sort money
  kernos top -n 1 -o json
""",
)
@click.option("-n", "--frames", type=click.IntRange(1), metavar="N", help="Stop after N pictures")
@click.option(
    "-d", "--delay", type=click.FloatRange(0.1), default=1.0, metavar="SECONDS", help="Between pictures  [default: 1]"
)
@click.option(
    "--sort", type=click.Choice([*_BY_NAME, "busy"]), default="busy", help="What comes first  [default: busy]"
)
@click.option("-a", "--all", "everybody", is_flag=True, help="Other principals' processes, sessions and tools too")
@output("table", "json")
@which_kernel
@click.pass_obj
def top(session: Session, *, frames: int | None, delay: float, sort: str, everybody: bool, output: str) -> None:
    """Watch processes and the machine, the busiest first.

    Keys: q quits, a shows all or only programs, space refreshes; sorted by t tokens, s speed, c context, m money,
    u queued, w wall time, p pid, n name, b busiest again.
    """
    with session.link() as link:
        if output == "json" or not is_terminal() or not sys.stdin.isatty():
            _plain(link, frames or 1, delay, everybody=everybody, output=output, sort=_BY_NAME.get(sort, "b"))
        else:
            _live(link, frames, delay, everybody=everybody, sort=_BY_NAME.get(sort, "b"))


def frame(link: BlockingLink, *, everybody: bool, sort: str = "b") -> list[str]:
    """One picture: two lines about the machine, a blank, the table, sorted by the key `sort`."""
    info: kernel.KernelInfo = link.call(kernel.INFO, kernel.Info())
    found = arranged(processes(link, everybody=everybody), sort)
    return [*header(info, found, sort), "", *table_lines(found, COLUMNS, wide=True)]


def arranged(found: Iterable[ProcessInfo], sort: str) -> list[ProcessInfo]:
    """Sorted by a key; equals, and everything under key b, the busiest first."""
    busiest = sorted(found, key=_rank)
    return sorted(busiest, key=_SORTS[sort][1]) if sort in _SORTS else busiest


def header(info: kernel.KernelInfo, found: list[ProcessInfo], sort: str = "b") -> list[str]:
    """About the machine."""
    states = {state: sum(p.state == state for p in found) for state in _ORDER}
    speed = sum(p.tokens_per_s for p in found if p.state == "running")
    return [
        f"kernos {info.version} (pid {info.pid})  up {clock_time(info.uptime_s)}  model {info.default_model or '-'}  "
        f"policy {info.policy}"
        + "".join(f", {what} disabled" for what in info.disabled)
        + (f"  sorted by {_SORTS[sort][0]}" if sort in _SORTS else ""),
        f"{info.processes} programs: "
        + ", ".join(f"{number} {state}" for state, number in states.items() if number)
        + f"  {info.generating} generating, {info.queued} queued  {speed:.1f} tok/s  {count(info.tokens)} tokens"
        + f"  {count(info.calls)} calls  {info.faults} faults  {info.denials} denied",
    ]


def _rank(info: ProcessInfo) -> tuple[int, int, int]:
    return _ORDER.get(info.state, 9), -info.tokens, info.pid


def _plain(link: BlockingLink, frames: int, delay: float, *, everybody: bool, output: str, sort: str) -> None:
    for number in range(frames):
        if number:
            select.select([], [], [], delay)
        if output == "json":
            info = link.call(kernel.INFO, kernel.Info())
            write_lines([json_line({"kernel": info, "processes": processes(link, everybody=everybody)})])
        else:
            write_lines(frame(link, everybody=everybody, sort=sort))


def _live(link: BlockingLink, frames: int | None, delay: float, *, everybody: bool, sort: str) -> None:
    """Redraws in place on the terminal's other screen, which it gives back however it ends."""
    with _keys() as fd:
        write(_ENTER)
        try:
            while frames is None or frames > 0:
                _draw(frame(link, everybody=everybody, sort=sort))
                frames = None if frames is None else frames - 1
                key = _key(fd, delay) if frames != 0 else "q"
                if key in ("q", "\x03", "\x04"):
                    return
                everybody ^= key == "a"
                sort = key if key in _SORTS or key == "b" else sort
        finally:
            write(_LEAVE)


def _draw(lines: list[str]) -> None:
    height = os.get_terminal_size(sys.stdout.fileno()).lines
    width = terminal_width() or 80
    shown = [cut(line, width) for line in lines[: height - 1]]
    if len(shown) > 3:
        shown[3] = coloured(shown[3].ljust(width), reverse=True)
    write(_HOME + "".join(line + _REST_OF_LINE + "\r\n" for line in shown) + _REST)


@contextmanager
def _keys() -> Iterator[int]:
    """Keys one by one, without echo."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _key(fd: int, wait_s: float) -> str:
    ready, _, _ = select.select([fd], [], [], wait_s)
    return os.read(fd, 16).decode(errors="replace")[:1] if ready else ""

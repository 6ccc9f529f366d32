"""`kernos top`: processes and the machine, again and again."""

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
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
_ORDER = {"running": 0, "waiting": 1, "ready": 1, "stopped": 2, "zombie": 3}


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos top                until q
  kernos top -n 1           one picture; so it is too when stdout is no terminal
  kernos top -n 1 -o json
""",
)
@click.option("-n", "--frames", type=click.IntRange(1), metavar="N", help="Stop after N pictures")
@click.option(
    "-d", "--delay", type=click.FloatRange(0.1), default=1.0, metavar="SECONDS", help="Between pictures  [default: 1]"
)
@click.option("-a", "--all", "everybody", is_flag=True, help="Other principals' processes, sessions and tools too")
@output("table", "json")
@which_kernel
@click.pass_obj
def top(session: Session, *, frames: int | None, delay: float, everybody: bool, output: str) -> None:
    """Watch processes and the machine. Keys: q quits, a shows all or only programs, space refreshes."""
    with session.link() as link:
        if output == "json" or not is_terminal() or not sys.stdin.isatty():
            _plain(link, frames or 1, delay, everybody=everybody, output=output)
        else:
            _live(link, frames, delay, everybody=everybody)


def frame(link: BlockingLink, *, everybody: bool) -> list[str]:
    """One picture: two lines about the machine, a blank, the table; the busiest first."""
    info: kernel.KernelInfo = link.call(kernel.INFO, kernel.Info())
    found = sorted(processes(link, everybody=everybody), key=_rank)
    return [*header(info, found), "", *table_lines(found, COLUMNS, wide=True)]


def header(info: kernel.KernelInfo, found: list[ProcessInfo]) -> list[str]:
    """About the machine."""
    states = {state: sum(p.state == state for p in found) for state in _ORDER}
    speed = sum(p.tokens_per_s for p in found if p.state == "running")
    return [
        f"kernos {info.version} (pid {info.pid})  up {clock_time(info.uptime_s)}  model {info.default_model or '-'}  "
        f"policy {info.policy}",
        f"{info.processes} programs: "
        + ", ".join(f"{number} {state}" for state, number in states.items() if number)
        + f"  {speed:.1f} tok/s  {count(info.tokens)} tokens  {count(info.calls)} calls  {info.faults} faults  "
        f"{info.denials} denied",
    ]


def _rank(info: ProcessInfo) -> tuple[int, int, int]:
    return _ORDER.get(info.state, 9), -info.tokens, info.pid


def _plain(link: BlockingLink, frames: int, delay: float, *, everybody: bool, output: str) -> None:
    for number in range(frames):
        if number:
            select.select([], [], [], delay)
        if output == "json":
            info = link.call(kernel.INFO, kernel.Info())
            write_lines([json_line({"kernel": info, "processes": processes(link, everybody=everybody)})])
        else:
            write_lines(frame(link, everybody=everybody))


def _live(link: BlockingLink, frames: int | None, delay: float, *, everybody: bool) -> None:
    """Redraws in place on the terminal's other screen, which it gives back however it ends."""
    with _keys() as fd:
        write(_ENTER)
        try:
            while frames is None or frames > 0:
                _draw(frame(link, everybody=everybody))
                frames = None if frames is None else frames - 1
                key = _key(fd, delay) if frames != 0 else "q"
                if key in ("q", "\x03", "\x04"):
                    return
                everybody ^= key == "a"
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

"""`kernos kill`: signals to processes."""

import re
from typing import final

import click

from syscalls.calls import process
from syscalls.errors import SyscallError
from syscalls.signals import Signal, parse_signal
from userland.cli.failures import OK, code_of, refuse, say
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import show_value, write_lines
from userland.cli.session import Session

_SHORT = re.compile(r"-(\d+|(SIG)?[A-Z]+\d*)")


@final
class _SignalCommand(click.Command):
    """Knows `kill -9 PID` and `kill -TERM PID`, as every shell does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and _SHORT.fullmatch(args[0]):
            args = ["-s", args[0][1:], *args[1:]]
        return super().parse_args(ctx, args)


@click.command(
    cls=_SignalCommand,
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos kill 12            ask process 12 to end (TERM)
  kernos kill -9 12 13      end them at once
  kernos kill -s STOP 12    hold it; -s CONT lets it go on
  kernos kill -l            the signals there are
""",
)
@click.argument("pids", nargs=-1, type=int, metavar="PID...")
@click.option("-s", "--signal", default="TERM", metavar="SIGNAL", help="By name or number  [default: TERM]")
@click.option("-l", "--list", "names", is_flag=True, help="List the signals")
@output("table", "json")
@which_kernel
@click.pass_obj
def kill(session: Session, *, pids: tuple[int, ...], signal: str, names: bool, output: str) -> int:
    """Send a signal to processes.

    TERM cancels the program; one that does not end in the grace time loses its worker. KILL ends it at once. STOP holds
    it and CONT frees it. The rest are told to the program.
    """
    if names:
        return _list(output)
    if not pids:
        refuse("say which processes: kernos kill PID...")
    try:
        number = parse_signal(signal)
    except ValueError as unknown:
        refuse(str(unknown))
    outcomes: dict[int, SyscallError | None] = {}
    with session.link() as link:
        for pid in pids:
            try:
                link.call(process.KILL, process.Kill(pid=pid, signal=int(number)))
                outcomes[pid] = None
            except SyscallError as refused:
                outcomes[pid] = refused
    if output == "json":
        show_value([_told(pid, number, failed) for pid, failed in outcomes.items()], output=output)
    failures = [failed for failed in outcomes.values() if failed is not None]
    for failed in failures:
        say(failed.message)
    return code_of(failures[-1]) if failures else OK


def _list(output: str) -> int:
    if output == "json":
        show_value({signal.name: int(signal) for signal in Signal}, output=output)
    else:
        write_lines(f"{signal.value:>2} {signal.name}" for signal in Signal)
    return OK


def _told(pid: int, signal: Signal, failed: SyscallError | None) -> dict[str, object]:
    return {"pid": pid, "signal": signal.name, "sent": failed is None, "error": failed.message if failed else ""}

"""`kernos nice`: a process's share of the machine."""

import click

from syscalls.calls import process
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import show_value
from userland.cli.session import Session


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos nice -n 10 12      process 12 gets less while others want the model
  kernos nice -n -5 12      and now more
""",
)
@click.argument("pids", nargs=-1, type=int, required=True, metavar="PID...")
@click.option("-n", "--nice", "value", type=int, required=True, metavar="N", help="From -20 (more) to 19 (less)")
@output("table", "json")
@which_kernel
@click.pass_obj
def nice(session: Session, *, pids: tuple[int, ...], value: int, output: str) -> None:
    """Change the share of the machine that processes get."""
    with session.link() as link:
        for pid in pids:
            link.call(process.NICE, process.Nice(pid=pid, nice=value))
    if output == "json":
        show_value([{"pid": pid, "nice": value} for pid in pids], output=output)

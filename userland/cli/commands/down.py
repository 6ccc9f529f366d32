"""`kernos down`: stops the kernel, in order."""

import os
import select
import time

import click

from syscalls.calls import kernel
from syscalls.errors import BrokenPipe, Canceled
from userland.cli.boot import is_alive
from userland.cli.failures import say
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import show_value
from userland.cli.session import Session

LOOK_S = 0.1


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos down               TERM to every process, 2 s, then the end
  kernos down --grace 30    give them longer
""",
)
@click.option(
    "--grace", type=click.FloatRange(0, 600), default=2.0, metavar="SECONDS", help="Time to end in  [default: 2]"
)
@output("table", "json")
@which_kernel
@click.pass_obj
def down(session: Session, *, grace: float, output: str) -> None:
    """Stop the kernel: its programs are asked to end, then ended; returns when it is gone."""
    with session.link() as link:
        info: kernel.KernelInfo = link.call(kernel.INFO, kernel.Info())
        here = not session.host
        watched = _watch(info.pid) if here else None
        try:
            link.call(kernel.SHUTDOWN, kernel.Shutdown(grace_s=grace))
        except (BrokenPipe, Canceled):  # it was quicker than its answer
            pass
    session.hang_up()
    if watched is not None:
        select.select([watched], [], [])  # readable when the OS process has ended
        os.close(watched)
    while here and is_alive(info.pid) and not hasattr(os, "pidfd_open"):
        time.sleep(LOOK_S)
    if output == "json":
        show_value({"pid": info.pid, "stopped": True}, output=output)
    else:
        say(f"kernel {info.pid} stopped")


def _watch(pid: int) -> int | None:
    """A descriptor that tells the end of an OS process, or None where it cannot be seen from here."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        return None

"""`kernos console`: hands over to the console."""

import click

from userland.cli.options import SETTINGS, which_kernel
from userland.cli.session import Session


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos console
  printf 'ps\\nmodel list\\n' | kernos console     without a terminal: a command per line
""",
)
@which_kernel
@click.pass_obj
def console(session: Session) -> int:
    """A prompt on the kernel: the same commands over one link, with completion and history.

    Tab completes commands, options, pids, model and program names; Ctrl-C gives up the line or the command; Ctrl-D or
    `exit` leaves.
    """
    from userland.console.loop import converse

    return converse(session)

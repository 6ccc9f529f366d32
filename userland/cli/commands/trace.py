"""`kernos trace`: what happened, as strace shows it."""

import click

from syscalls.calls import kernel
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import json_line, terminal_width, write_lines
from userland.cli.records import line_of
from userland.cli.session import Session
from userland.cli.table import cut


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos trace              all that the kernel remembers
  kernos trace -f 12        the calls of process 12 as it makes them
  kernos trace -o json | jq 'select(.errno == "EPERM")'
""",
)
@click.argument("pid", type=int, required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as things happen, until Ctrl-C")
@click.option("--since", type=click.IntRange(0), default=0, metavar="SEQ", help="Only records after number SEQ")
@click.option("--no-trunc", is_flag=True, help="Do not cut lines to the width of the terminal")
@output("table", "json")
@which_kernel
@click.pass_obj
def trace(session: Session, *, pid: int | None, follow: bool, since: int, no_trunc: bool, output: str) -> None:
    """Show system calls and events: one line per record, of process PID or of all.

    A call reads `PID name(arguments) = result <seconds>`; a refused one `= -1 ERRNO (why)`. JSON is one object per
    line.
    """
    width = None if no_trunc or output == "json" else terminal_width()
    with session.link() as link:
        for record in link.stream(kernel.TRACE, kernel.Trace(pid=pid, since=since, follow=follow)):
            line = json_line(record) if output == "json" else line_of(record)
            write_lines([line if width is None else cut(line, width)])

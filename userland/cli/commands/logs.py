"""`kernos logs`: what a process printed."""

import sys

import click

from syscalls.calls import process
from syscalls.calls.process import LogLine
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import json_line, write, write_lines
from userland.cli.session import Session

_TAIL = 1000


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos logs 12            what process 12 printed; its stderr goes to stderr
  kernos logs -f 12         and what it goes on to print, until it ends
  kernos logs --tail 20 12  the end of it
  kernos logs -o json 12    one JSON object per piece, with time and stream
""",
)
@click.argument("pid", type=int)
@click.option("-f", "--follow", is_flag=True, help="Go on until the process ends")
@click.option(
    "--tail", type=click.IntRange(0), default=_TAIL, metavar="N", help=f"The last N pieces  [default: {_TAIL}]"
)
@output("table", "json")
@which_kernel
@click.pass_obj
def logs(session: Session, *, pid: int, follow: bool, tail: int, output: str) -> None:
    """Show what a process printed."""
    with session.link() as link:
        for line in link.stream(process.LOGS, process.Logs(pid=pid, follow=follow, tail=tail)):
            if output == "json":
                write_lines([json_line(line)])
            else:
                show_piece(line)


def show_piece(line: LogLine, *, data: bool = True) -> None:
    """Output where it belongs: stdout to stdout (stderr unless `data`), all else to stderr."""
    if line.stream == "stdout" and data:
        write(line.text)
    else:
        sys.stderr.write(line.text)
        sys.stderr.flush()

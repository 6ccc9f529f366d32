"""`kernos trace`: what happened, as strace shows it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import click

from syscalls.calls import kernel
from syscalls.calls.kernel import TraceRecord
from syscalls.errors import Errno
from userland.cli.failures import refuse
from userland.cli.options import SETTINGS, output, which_kernel
from userland.cli.output import json_line, terminal_width, write_lines
from userland.cli.records import Lines, Summary, Times, Wanted
from userland.cli.session import Session
from userland.cli.table import cut


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos trace                        all that the kernel remembers
  kernos trace -f 12                  process 12 and what it spawns, as it happens, until it ends
  kernos trace -f -r 12 -e generate,recall
  kernos trace -e '!process.output'   all calls but those
  kernos trace --errno EPERM          what was refused, and why
  kernos trace -c 12                  calls, errors, seconds and tokens, counted by call
  kernos trace -o json | jq 'select(.errno == "EPERM")'
""",
)
@click.argument("pid", type=int, required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as things happen, until PID has ended or Ctrl-C")
@click.option("-c", "--count", "counted", is_flag=True, help="Count calls by name instead of showing each")
@click.option(
    "-e", "--calls", "names", metavar="NAME,…", default="", help="Only these calls, or families; !NAME: not it"
)
@click.option("--errno", "errnos", metavar="ERRNO,…", default="", help="Only calls that ended so (ALL: that failed)")
@click.option("-r", "--relative", is_flag=True, help="Before each line the seconds since the line before")
@click.option("-t", "--time", "clock", is_flag=True, help="Before each line the seconds since the kernel booted")
@click.option("--only", is_flag=True, help="Only PID, not what it spawned")
@click.option("--since", type=click.IntRange(0), default=0, metavar="SEQ", help="Only records after number SEQ")
@click.option("--no-trunc", is_flag=True, help="Do not cut lines to the width of the terminal")
@output("table", "json")
@which_kernel
@click.pass_obj
def trace(
    session: Session,
    *,
    pid: int | None,
    follow: bool,
    counted: bool,
    names: str,
    errnos: str,
    relative: bool,
    clock: bool,
    only: bool,
    since: int,
    no_trunc: bool,
    output: str,
) -> None:
    """Show system calls and events: one line per record, of process PID and its children, or of all.

    A call reads `PID name(arguments) = result <seconds>`; a refused one `= -1 ERRNO (why)`; one that cost tokens ends
    with `[prompt+generated tokens, queued and driver seconds]`. A call that waits is `<unfinished ...>` until it is
    `<... resumed>`. JSON is one object per line.
    """
    wanted = Wanted(names.split(","), _errnos(errnos))
    asked = kernel.Trace(pid=pid, since=since, follow=follow, children=not only, begun=not counted)
    with session.link() as link:
        records = (record for record in link.stream(kernel.TRACE, asked) if wanted(record))
        if counted:
            _count(records, output)
            return
        show = _shower("relative" if relative else "since boot" if clock else "none", output, whole=no_trunc)
        for record in records:
            write_lines([show(record)])


def _shower(times: Times, output: str, *, whole: bool) -> Callable[[TraceRecord], str]:
    if output == "json":
        return json_line
    lines, width = Lines(times), None if whole else terminal_width()
    return lambda record: lines.of(record) if width is None else cut(lines.of(record), width)


def _count(records: Iterable[TraceRecord], output: str) -> None:
    """Counts to the end of the records, or to Ctrl-C, and shows the table."""
    summary = Summary()
    with _until_interrupted():
        for record in records:
            summary.add(record)
    if output == "json":
        write_lines(json_line(vars(tally)) for tally in summary.rows())
    else:
        write_lines(summary.lines())


@contextmanager
def _until_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        pass


def _errnos(text: str) -> tuple[str, ...]:
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    if "ALL" in names:
        return tuple(Errno.__members__)
    unknown = [name for name in names if name not in Errno.__members__]
    if unknown:
        refuse(f"there is no errno {unknown[0]}: {', '.join(Errno.__members__)} or ALL")
    return tuple(names)

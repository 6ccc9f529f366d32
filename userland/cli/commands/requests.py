"""`kernos requests`: rights that programs ask for, and the answers."""

import click

from syscalls.calls import capability as abi
from syscalls.calls.capability import RequestInfo
from userland.cli.failures import OK
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import json_line, show_rows, show_value, write_lines
from userland.cli.session import Session
from userland.cli.table import Column, clean
from userland.cli.values import clock_time

COLUMNS = (
    Column("REQUEST", lambda r: str(r.request), right=True),
    Column("STATE", lambda r: f"{r.state} always" if r.always else r.state),
    Column("PID", lambda r: str(r.pid) if r.waiting else "-", right=True),
    Column("PROGRAM", lambda r: r.program or r.name),
    Column("USER", lambda r: r.principal, wide=True),
    Column("LEFT", lambda r: "-" if r.left_s is None else clock_time(r.left_s), right=True),
    Column("RIGHT", lambda r: r.right),
    Column("REASON", lambda r: r.reason),
)


@click.group(
    context_settings=SETTINGS,
    invoke_without_command=True,
    epilog="""\b
Examples:
  kernos requests                     what waits for an answer, and the answers that stand
  kernos requests allow 3             yes, to the process that asks
  kernos requests allow --always 3    yes, whenever that program asks this
  kernos requests deny 3
  kernos requests forget 3            drop an answer that stands
""",
)
@lists
@which_kernel
@click.pass_context
def requests(ctx: click.Context, *, output: str, quiet: bool, no_trunc: bool) -> None:
    """Rights that programs ask for at run time (capability.request).

    A request that nobody answers in its time is denied. PID is the process that waits; where none does any more, the
    answer waits for the program's next run. Who is asked automatically stands under [requests] in kernos.toml.
    """
    if ctx.invoked_subcommand is not None:
        return
    with ctx.obj.link() as link:
        found = tuple(link.stream(abi.REQUESTS, abi.ListRequests()))
    show_rows(found, COLUMNS, name=lambda r: str(r.request), output=output, quiet=quiet, whole=no_trunc)


@requests.command(context_settings=SETTINGS, epilog="\b\nExample:\n  kernos requests allow 3\n")
@click.argument("request", type=int)
@click.option("--always", is_flag=True, help="Whenever this program asks for this")
@output("table", "json")
@which_kernel
@click.pass_obj
def allow(session: Session, *, request: int, always: bool, output: str) -> int:
    """Answer yes."""
    return _answer(session, request, allow=True, always=always, output=output)


@requests.command(context_settings=SETTINGS, epilog="\b\nExample:\n  kernos requests deny 3\n")
@click.argument("request", type=int)
@click.option("--always", is_flag=True, help="Whenever this program asks for this")
@output("table", "json")
@which_kernel
@click.pass_obj
def deny(session: Session, *, request: int, always: bool, output: str) -> int:
    """Answer no."""
    return _answer(session, request, allow=False, always=always, output=output)


@requests.command(context_settings=SETTINGS, epilog="\b\nExample:\n  kernos requests forget 3\n")
@click.argument("request", type=int)
@output("table", "json")
@which_kernel
@click.pass_obj
def forget(session: Session, *, request: int, output: str) -> None:
    """Drop a request (a no to whoever waits) or an answer that stands."""
    with session.link() as link:
        link.call(abi.FORGET, abi.Forget(request=request))
    if output == "json":
        show_value({"request": request, "forgotten": True}, output=output)


def _answer(session: Session, request: int, *, allow: bool, always: bool, output: str) -> int:
    with session.link() as link:
        info: RequestInfo = link.call(abi.ANSWER, abi.Answer(request=request, allow=allow, always=always))
    write_lines([json_line(info) if output == "json" else sentence(info)])
    return OK


def sentence(info: RequestInfo) -> str:
    """A request, or its answer, in one line."""
    who = f"process {info.pid} ({info.name})" if info.waiting else info.program or info.name
    reason = f" ({info.reason})" if info.reason else ""
    always = "always " if info.always else ""
    verb = {"pending": "asks for", "allowed": f"is {always}allowed", "denied": f"is {always}denied"}[info.state]
    return clean(f"{who} {verb} '{info.right}'{reason}")

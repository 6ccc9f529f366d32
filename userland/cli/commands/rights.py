"""`kernos caps`, `kernos grant`, `kernos revoke`: what a process may do, and changing that while it runs."""

import click

from syscalls.calls import capability as abi
from syscalls.calls.capability import CapabilityInfo
from syscalls.link.blocking import BlockingLink
from syscalls.rights import Right
from userland.cli.failures import NOT_FOUND, Failure
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import json_line, plain, show_rows, show_value, write_lines
from userland.cli.session import Session
from userland.cli.table import Column, clean
from userland.cli.target import checked_right
from userland.cli.values import clock_time

COLUMNS = (
    Column("CAP", lambda c: str(c.capability), right=True),
    Column("FROM", lambda c: str(c.parent) if c.parent else "-", right=True),
    Column("GIVER", lambda c: str(c.giver) if c.giver else "-", right=True),
    Column("LEFT", lambda c: "-" if c.left_s is None else clock_time(c.left_s), right=True),
    Column("USES", lambda c: "-" if c.uses_left is None else str(c.uses_left), right=True),
    Column("RIGHT", lambda c: c.right),
)


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos caps 12              what process 12 may do, and from whom it has that
  kernos caps 12 -o name      only the rights, as they are written
""",
)
@click.argument("pid", type=int)
@lists
@which_kernel
@click.pass_obj
def caps(session: Session, *, pid: int, output: str, quiet: bool, no_trunc: bool) -> None:
    """List the capabilities of a process: the right, the capability it was made from (FROM) and whose that is (GIVER),
    the time and the calls left to it."""
    with session.link() as link:
        found = _held(link, pid)
    show_rows(found, COLUMNS, name=lambda c: c.right, output=output, quiet=quiet, whole=no_trunc)


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos grant 12 'tool:calculator.* call'
  kernos grant 12 'file:docs/** read' --for 600 --why "to look it up"
  kernos grant 12 'model:big generate' --uses 3
""",
)
@click.argument("pid", type=int)
@click.argument("right")
@click.option("--for", "life_s", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="So long")
@click.option("--uses", type=click.IntRange(1), metavar="N", help="For so many calls")
@click.option("--why", default="", metavar="TEXT", help="What the trace says of it")
@output("table", "json")
@which_kernel
@click.pass_obj
def grant(
    session: Session, *, pid: int, right: str, life_s: float | None, uses: int | None, why: str, output: str
) -> None:
    """Give a running process a right.

    It holds it from now on, for its children too if it hands it on; a process whose parent lacks the right cannot have
    it. Prints the number of the capability, by which it can be revoked.
    """
    asked = abi.Grant(pid=pid, right=checked_right(right), life_s=life_s, uses=uses, why=why)
    with session.link() as link:
        made: CapabilityInfo = link.call(abi.GRANT, asked)
    write_lines([json_line(made) if output == "json" else str(made.capability)])


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos revoke 12 'model:*'                       all that it holds of models, calls under way included
  kernos revoke 12 '**' --why "it runs wild"       everything
  kernos revoke 12 31                              capability 31 of it
""",
)
@click.argument("pid", type=int)
@click.argument("right", metavar="RIGHT|CAP")
@click.option("--why", default="", metavar="TEXT", help="What the process and the trace are told")
@output("table", "json")
@which_kernel
@click.pass_obj
def revoke(session: Session, *, pid: int, right: str, why: str, output: str) -> None:
    """Take rights from a running process: those that RIGHT covers, or number CAP, and all that was handed on.

    Calls under way that they let in are cancelled and end with the reason. Prints each right that was taken.
    """
    with session.link() as link:
        held = _held(link, pid)
        chosen = [each for each in held if _meant(each, right)]
        if not chosen:
            raise Failure(_nothing(pid, right, held), NOT_FOUND)
        for each in chosen:
            link.call(abi.REVOKE, abi.Revoke(capability=each.capability, why=why))
    if output == "json":
        show_value([plain(each) for each in chosen], output=output)
    else:
        write_lines(clean(each.right) for each in chosen)


def _held(link: BlockingLink, pid: int) -> tuple[CapabilityInfo, ...]:
    found: abi.Held = link.call(abi.HELD, abi.HeldBy(pid=pid))
    return found.capabilities


def _meant(held: CapabilityInfo, right: str) -> bool:
    if right.isdigit():
        return held.capability == int(right)
    return Right.parse(checked_right(right)).covers(Right.parse(held.right))


def _nothing(pid: int, right: str, held: tuple[CapabilityInfo, ...]) -> str:
    """Why there is nothing to take."""
    if right.isdigit():
        return f"process {pid} holds no capability {right}: 'kernos caps {pid}' lists them"
    wanted = Right.parse(checked_right(right))
    wider = next((each.right for each in held if Right.parse(each.right).covers(wanted)), None)
    if wider is not None:
        return f"process {pid} has that from '{wider}', which is wider: revoke it, then grant what is to stay"
    return f"process {pid} holds nothing of '{wanted}': 'kernos caps {pid}' lists what it holds"

"""`kernos account`: what accounts used and may use; limits and transfers."""

from collections.abc import Callable
from typing import Any

import click

from syscalls.calls import account as abi
from syscalls.calls.account import AccountInfo, ModelUse
from syscalls.link.blocking import BlockingLink
from syscalls.resources import ResourceName, show_amount
from userland.cli import amounts
from userland.cli.failures import say
from userland.cli.options import SETTINGS, lists, which_kernel
from userland.cli.output import show_rows
from userland.cli.session import Session
from userland.cli.table import Column
from userland.cli.values import count

ROOTS = ("kernel", "kernel:overhead")


def _cell(resource: ResourceName) -> Callable[[AccountInfo], str]:
    """`used/limit`; what is held for work under way is added as `+held`."""

    def cell(info: AccountInfo) -> str:
        for each in info.resources:
            if each.resource == resource and (each.used or each.held or each.limit is not None):
                held = f"+{_shown(resource, each.held)}" if each.held else ""
                limit = f"/{_shown(resource, each.limit)}" if each.limit is not None else ""
                return f"{_shown(resource, each.used)}{held}{limit}"
        return "-"

    return cell


def _shown(resource: ResourceName, amount: int) -> str:
    return count(amount) if resource.startswith(("tokens", "calls")) else show_amount(resource, amount)


COLUMNS = (
    Column("ACCOUNT", lambda a: "  " * a.depth + a.name),
    Column("PID", lambda a: str(a.pid) if a.pid else "-", right=True),
    Column("TOKENS", _cell("tokens"), right=True),
    Column("IN", _cell("tokens_in"), right=True, wide=True),
    Column("OUT", _cell("tokens_out"), right=True, wide=True),
    Column("MONEY", _cell("money_micros"), right=True),
    Column("GENERATION", _cell("generation_us"), right=True),
    Column("CALLS", _cell("calls"), right=True),
    Column("BYTES", _cell("bytes_stored"), right=True),
    Column("PROCS", _cell("processes"), right=True),
    Column("CTXS", _cell("contexts"), right=True),
)
MODEL_COLUMNS = (
    Column("MODEL", lambda m: m.model),
    Column("JOBS", lambda m: str(m.jobs), right=True),
    Column("IN", lambda m: str(m.tokens_in), right=True),
    Column("CACHED", lambda m: str(m.cached) if m.cached else "-", right=True),
    Column("OUT", lambda m: str(m.tokens_out) if m.tokens_out else "-", right=True),
    Column("GENERATION", lambda m: show_amount("generation_us", m.generation_us), right=True),
    Column("MONEY", lambda m: show_amount("money_micros", m.money_micros) if m.money_micros else "-", right=True),
)


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos account                             the whole tree: used, +held, /limit
  kernos account ann -o wide                 one user's, tokens read and generated apart
  kernos account ann --models                what each model did for it
  kernos account 17 --limit tokens=50k,calls=none
  kernos account 17 --give 18 tokens=5k      unused allowance, to a sibling or a child

\b
Resources: tokens, tokens_in, tokens_out, money, generation (s, m, h), calls, bytes (KiB, MiB),
processes, contexts. An account is named, or is a process's by its pid.
""",
)
@click.argument("name", metavar="[NAME|PID]", required=False)
@click.option("--limit", metavar="RESOURCE=AMOUNT,…", help="Set limits; none takes one away")
@click.option(
    "--give", nargs=2, metavar="TO RESOURCE=AMOUNT,…", help="Move allowance to another account of the same parent"
)
@click.option("--models", is_flag=True, help="By model instead of by account")
@lists
@which_kernel
@click.pass_obj
def account(
    session: Session,
    *,
    name: str | None,
    limit: str | None,
    give: tuple[str, str] | None,
    models: bool,
    output: str,
    quiet: bool,
    no_trunc: bool,
) -> None:
    """Show what accounts used, hold and may use; set limits; move allowance."""
    if limit is not None and give is not None:
        raise click.UsageError("--limit and --give are two commands: one after the other")
    if name is None and (limit is not None or give is not None or models):
        raise click.UsageError("of which account? Name it: 'kernos account' lists them")
    with session.link() as link:
        if limit is not None:
            limits = amounts.parse(limit, option="--limit", none=True)
            link.call(abi.LIMIT, abi.Limit(account=name, limits=dict(limits.items())))
        elif give is not None:
            moved = {str(each): amount or 0 for each, amount in amounts.parse(give[1], option="--give").items()}
            link.call(abi.TRANSFER, abi.Transfer(source=name, target=give[0], amounts=moved))
        told = [usage(link, each) for each in ((name,) if name else ROOTS)]
    columns, rows = _rows(told, models=models)
    show_rows(rows, columns, name=_name, output=output, quiet=quiet, whole=no_trunc)
    more = sum(each.more for each in told)
    if more:
        say(f"{more} more accounts are not shown: name one further down")


def usage(link: BlockingLink, name: str) -> abi.AccountUsage:
    """An account and all below it."""
    told: abi.AccountUsage = link.call(abi.USAGE, abi.Usage(account=name, tree=True))
    return told


def _rows(told: list[abi.AccountUsage], *, models: bool) -> tuple[tuple[Column, ...], tuple[Any, ...]]:
    if models:
        return MODEL_COLUMNS, told[0].accounts[0].models
    return COLUMNS, tuple(info for each in told for info in each.accounts)


def _name(row: AccountInfo | ModelUse) -> str:
    return row.model if isinstance(row, ModelUse) else row.address

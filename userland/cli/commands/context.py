"""`kernos context`: conversations that go by a name."""

from collections.abc import Iterator

import click

from syscalls.calls import context as abi
from syscalls.calls.context import NamedContext
from syscalls.errors import NotFound
from syscalls.link.blocking import BlockingLink
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import plain, show_rows, show_value, write_lines
from userland.cli.session import Session
from userland.cli.table import Column
from userland.cli.values import bytes_count

COLUMNS = (
    Column("CONTEXT", lambda c: c.name),
    Column("MODEL", lambda c: c.model),
    Column("TURNS", lambda c: str(c.turns), right=True),
    Column("PAGES", lambda c: str(c.pages), right=True),
    Column("SIZE", lambda c: bytes_count(c.bytes), right=True),
    Column("OPEN", lambda c: str(c.handles) if c.handles else "-", right=True),
)


@click.group(context_settings=SETTINGS)
def context() -> None:
    """Contexts: conversations that are kept under a name."""


@context.command(
    "list",
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos context list
  kernos context list -q
""",
)
@lists
@which_kernel
@click.pass_obj
def list_(session: Session, *, output: str, quiet: bool, no_trunc: bool) -> None:
    """List your named contexts. OPEN counts the handles that processes hold."""
    with session.link() as link:
        found = tuple(_all(link))
    show_rows(found, COLUMNS, name=lambda c: c.name, output=output, quiet=quiet, whole=no_trunc)


def _all(link: BlockingLink) -> Iterator[NamedContext]:
    after = ""
    while True:
        found: abi.Contexts = link.call(abi.LIST, abi.ListContexts(after=after))
        yield from found.contexts
        if not found.more:
            return
        after = found.contexts[-1].name


@context.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos context show notes
  kernos context show notes -o json
""",
)
@click.argument("name")
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def show(session: Session, *, name: str, output: str) -> None:
    """Show one named context."""
    with session.link() as link:
        found: abi.Contexts = link.call(abi.LIST, abi.ListContexts(name=name))
    if not found.contexts:
        raise NotFound(f"no context of yours is called {name}: 'kernos context list' lists them")
    shown = found.contexts[0]
    if output != "table":
        show_value(plain(shown), output=output)
        return
    facts = {
        "context": shown.name,
        "model": shown.model,
        "version": str(shown.version),
        "turns": str(shown.turns),
        "pages": f"{shown.pages} ({bytes_count(shown.bytes)}, sealed)",
        "open": f"{shown.handles} handles" if shown.handles else "no",
    }
    write_lines(f"{key + ':':<12}{value}" for key, value in facts.items())


@context.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos context rm notes
  kernos context rm $(kernos context list -q)
""",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@output("table", "json", "yaml")
@which_kernel
@click.pass_obj
def rm(session: Session, *, names: tuple[str, ...], output: str) -> None:
    """Forget named contexts and those of their pages that are in no other. There is no way back.

    Prints each name once it is forgotten."""
    with session.link() as link:
        for name in names:
            link.call(abi.FORGET, abi.Forget(name=name))
            if output == "table":
                write_lines([name])
    if output != "table":
        show_value(list(names), output=output)

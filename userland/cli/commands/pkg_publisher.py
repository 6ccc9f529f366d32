"""`kernos pkg publisher`: who published what is installed, by its attestations, and who is believed no more."""

import click
from msgspec import Struct

from userland.cli.commands.pkg import folder_of, report
from userland.cli.failures import say
from userland.cli.lifetime import shown
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import show_rows
from userland.cli.session import Session
from userland.cli.table import Column


class Known(Struct, frozen=True):
    """A publisher of installed packages, or a revoked text."""

    publisher: str
    state: str
    packages: tuple[str, ...] = ()
    since: float = 0.0
    why: str = ""


COLUMNS = (
    Column("PUBLISHER", lambda k: k.publisher),
    Column("STATE", lambda k: k.state),
    Column("PACKAGES", lambda k: ", ".join(k.packages) or "-"),
    Column("SINCE", lambda k: shown(k.since)),
    Column("WHY", lambda k: k.why or "-", wide=True),
)


@click.group(context_settings=SETTINGS, no_args_is_help=True)
def publisher() -> None:
    """Who published what is installed, by attestations of the package index.

    A publisher is believed for a package from its first installation on. One that is revoked is believed never again.
    """


@publisher.command("list", context_settings=SETTINGS, epilog="Example: kernos pkg publisher list -o wide")
@lists
@which_kernel
@click.pass_obj
def list_(session: Session, *, output: str, quiet: bool, no_trunc: bool) -> None:
    """List the publishers of what is installed, and who is revoked."""
    from userland.pkg.publishers import Publishers
    from userland.pkg.store import Store

    folder = folder_of(session)
    by: dict[str, list[str]] = {}
    since: dict[str, float] = {}
    for record in Store(folder).all():
        if record.publisher:
            by.setdefault(record.publisher, []).append(record.manifest.name)
            since[record.publisher] = min(record.since, since.get(record.publisher, record.since))
    rows = [Known(who, "believed", tuple(names), since[who]) for who, names in sorted(by.items())]
    rows += [Known(each.text, "revoked", (), each.since, each.why) for each in Publishers(folder).revoked()]
    show_rows(rows, COLUMNS, name=lambda k: k.publisher, output=output, quiet=quiet, whole=no_trunc)


@publisher.command(
    context_settings=SETTINGS, epilog="Example: kernos pkg publisher revoke github.com/somebody/ --why 'taken over'"
)
@click.argument("text")
@click.option("--why", default="", metavar="TEXT", help="The reason, shown whenever it is met again")
@output("table", "json")
@which_kernel
@click.pass_obj
def revoke(session: Session, *, text: str, why: str, output: str) -> int:
    """Never believe a publisher with TEXT in its name again: no installation, no upgrade, no rollback.
    What it published and is installed is named; removing that is your choice."""
    from userland.pkg.publishers import Publishers
    from userland.pkg.store import Store

    folder = folder_of(session)
    with Store(folder).locked():
        found = Publishers(folder).revoke(text, why)
    for record in Store(folder).all():
        if found.text in record.publisher:
            name = record.manifest.name
            say(f"{name} was published by {record.publisher}: 'kernos pkg remove {name}' takes it away")
    return report(found, f"publishers with {found.text!r} in their names are revoked", output)


@publisher.command(context_settings=SETTINGS, epilog="Example: kernos pkg publisher forget github.com/somebody/")
@click.argument("text")
@output("table", "json")
@which_kernel
@click.pass_obj
def forget(session: Session, *, text: str, output: str) -> int:
    """Take a revocation back."""
    from userland.pkg.publishers import Publishers
    from userland.pkg.store import Store

    folder = folder_of(session)
    with Store(folder).locked():
        found = Publishers(folder).forget(text)
    return report(found, f"{found.text!r} is revoked no more", output)

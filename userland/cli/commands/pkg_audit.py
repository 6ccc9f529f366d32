"""`kernos pkg audit`, `allow` and `revoke`: what packages use of what they hold, and changing that."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from userland.cli.commands.pkg import folder_of, report, tell_kernel
from userland.cli.failures import OK, say
from userland.cli.lifetime import shown
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import show_rows
from userland.cli.session import Session
from userland.cli.table import Column
from userland.cli.target import checked_right

if TYPE_CHECKING:
    from syscalls.rights import Right
    from userland.pkg.store import Store

    Change = Callable[[Store, str, tuple[Right, ...]], tuple[str, ...]]

COLUMNS = (
    Column("PACKAGE", lambda line: line.package),
    Column("RIGHT", lambda line: line.right),
    Column("STANDING", lambda line: line.standing),
    Column("USES", lambda line: str(line.uses) if line.uses else "-", right=True),
    Column("LAST", lambda line: shown(line.last) if line.last else "-"),
    Column("BY", lambda line: line.by or "nobody", wide=True),
)


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos pkg audit
  kernos pkg audit finder --revoke-unused      take back what finder holds and never used

\b
used      it let so many calls in
unused    it was granted and let none in
shown     it showed files to so many workers; what they read of them is not counted
refused   it was asked for and kept back, or taken back
lacked    so many calls were refused for want of it; it was never asked for
""",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--revoke-unused", is_flag=True, help="Take back what was never used; not from what never ran")
@lists
@which_kernel
@click.pass_obj
def audit(
    session: Session, *, names: tuple[str, ...], revoke_unused: bool, output: str, quiet: bool, no_trunc: bool
) -> int:
    """Show what packages used of what they were granted."""
    from userland.pkg import audit as auditing
    from userland.pkg.store import Store

    store = Store(folder_of(session))
    tell_kernel(session)  # it writes what it has counted
    if revoke_unused:
        with store.locked():
            taken = auditing.take_unused(store, names)
        tell_kernel(session)
        for name, rights in taken.items():
            say(f"took from {name}: {', '.join(rights)}")
        if not taken:
            say("there was nothing to take back: what never ran keeps what it was granted")
    lines = auditing.audit(store, names)
    show_rows(
        lines, COLUMNS, name=lambda line: f"{line.package} {line.right}", output=output, quiet=quiet, whole=no_trunc
    )
    takeable = auditing.unused(lines)
    if takeable and output == "table" and not quiet and not revoke_unused:
        say(f"to take back what was never used: kernos pkg audit {' '.join(takeable)} --revoke-unused")
    return OK


@click.command(context_settings=SETTINGS, epilog="Example: kernos pkg allow finder 'net:https://example.com/** get'")
@click.argument("name")
@click.argument("rights", nargs=-1, required=True, metavar="RIGHT...")
@output("table", "json")
@which_kernel
@click.pass_obj
def allow(session: Session, *, name: str, rights: tuple[str, ...], output: str) -> int:
    """Grant a package what it asks for and was kept from it, as far as RIGHT goes. Never more than it asks for."""
    from userland.pkg.audit import give

    gained = _changed(session, give, name, rights)
    return report({"granted": list(gained)}, f"gave {name}: {', '.join(gained)}", output)


@click.command(context_settings=SETTINGS, epilog="Example: kernos pkg revoke finder 'net:**'")
@click.argument("name")
@click.argument("rights", nargs=-1, required=True, metavar="RIGHT...")
@output("table", "json")
@which_kernel
@click.pass_obj
def revoke(session: Session, *, name: str, rights: tuple[str, ...], output: str) -> int:
    """Take from a package what it holds, as far as RIGHT goes: from what of it runs, too."""
    from userland.pkg.audit import take

    lost = _changed(session, take, name, rights)
    return report({"revoked": list(lost)}, f"took from {name}: {', '.join(lost)}", output)


def _changed(session: Session, change: "Change", name: str, rights: tuple[str, ...]) -> tuple[str, ...]:
    """Gives or takes rights of a package; which that were. What of it runs has them, or lacks them, at once."""
    from syscalls.rights import Right
    from userland.pkg.store import Store

    patterns = tuple(Right.parse(checked_right(text)) for text in rights)
    store = Store(folder_of(session))
    with store.locked():
        changed = change(store, name, patterns)
    tell_kernel(session)
    return changed

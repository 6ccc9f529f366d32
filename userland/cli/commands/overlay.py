"""`kernos diff`, `kernos apply` and `kernos discard`: what a command changed in its overlay."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from syscalls.errors import IOFailed, SyscallError
from userland.cli.failures import CONFLICT, OK, say
from userland.cli.options import SETTINGS, output
from userland.cli.output import coloured, plain, show_value, write_lines
from userland.cli.session import Session
from userland.cli.table import clean
from userland.overlay import store
from userland.overlay.apply import Refused, check
from userland.overlay.apply import apply as do
from userland.overlay.changes import Change, changes
from userland.overlay.show import diff as text_of
from userland.overlay.show import line
from userland.overlay.store import Layer

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_WHICH = click.argument("number", type=click.IntRange(1), required=False, metavar="[OVERLAY]")


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos diff             what the newest overlay changed, file by file
  kernos diff 3 --list    one line for each path of overlay 3

\b
A added, M modified, D deleted, R replaced by something of another kind, C its mode changed.
""",
)
@_WHICH
@click.option("-l", "--list", "listed", is_flag=True, help="One line for each path")
@output("table", "json")
@click.pass_obj
def diff(session: Session, *, number: int | None, listed: bool, output: str) -> None:
    """Show what a command changed in its overlay (the newest, unless one is named)."""
    session.here("diff")
    found = _changes(store.find(number))
    if output == "json":
        show_value([{"folder": layer.folder, **plain(change)} for layer, change in found], output=output)
        return
    write_lines(_lines(found, listed=listed))


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos apply            the newest overlay
  kernos apply 3 --force  overlay 3, over what was changed in the folder meanwhile

\b
All is applied or nothing: what the folder's own changed meanwhile is a conflict  [exit code 5].
""",
)
@_WHICH
@click.option("--force", is_flag=True, help="Also over what was changed in the folder meanwhile")
@click.option("--links", is_flag=True, help="Also links that lead out of the folder")
@output("table", "json")
@click.pass_obj
def apply(session: Session, *, number: int | None, force: bool, links: bool, output: str) -> int:
    """Do to the folder what a command did in its overlay, and throw the overlay away."""
    session.here("apply")
    home = store.find(number)
    with store.held(home):
        found = _changes(home)
        try:
            check([change for _, change in found], force=force, links=links)
        except Refused as refused:
            for path, why in refused.reasons:
                say(f"{clean(path)} {clean(why)}")
            hint = "with --force or --links they are applied all the same" if not _special(found) else "remove it there"
            say(f"nothing was applied: {hint}; 'kernos diff {home.name}' shows all")
            return CONFLICT
        try:
            for layer in store.layers(home):
                do(layer, [change for of, change in found if of == layer])
        except (OSError, RecursionError) as failed:
            raise IOFailed(f"not all was applied, overlay {home.name} is still there: {failed}") from None
        store.discard(home)
    if output == "json":
        show_value({"overlay": int(home.name), "applied": len(found)}, output=output)
    else:
        say(f"applied {len(found)} changes of overlay {home.name}")
    return OK


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos discard          the newest overlay
  kernos discard --all
""",
)
@_WHICH
@click.option("--all", "all_", is_flag=True, help="All overlays whose command has ended")
@output("table", "json")
@click.pass_obj
def discard(session: Session, *, number: int | None, all_: bool, output: str) -> None:
    """Throw an overlay away; the folder stays as it is."""
    session.here("discard")
    homes = store.every() if all_ else [store.find(number)]
    for home in homes:
        with store.held(home):
            store.discard(home)
    if output == "json":
        show_value({"discarded": [int(home.name) for home in homes]}, output=output)


def _changes(home: Path) -> list[tuple[Layer, Change]]:
    try:
        return [(layer, change) for layer in store.layers(home) for change in changes(layer)]
    except OSError as failed:
        raise IOFailed(f"overlay {home.name} cannot be read: {failed}") from None
    except RecursionError:
        raise IOFailed(
            f"overlay {home.name} has folders too deep to be compared: look into {home}, or discard it"
        ) from None


def _special(found: list[tuple[Layer, Change]]) -> bool:
    return any(change.kind == "special" for _, change in found)


def _lines(found: list[tuple[Layer, Change]], *, listed: bool) -> Iterator[str]:
    for layer, change in found:
        yield clean(line(layer, change))
        if not listed and change.what == "file" and change.kind in ("added", "modified", "deleted"):
            for each in text_of(layer, change):
                style: dict[str, Any] = {"fg": _COLOURS[each[0]]} if each[:1] in _COLOURS else {}
                yield coloured(clean(each.expandtabs()), **style) if style else clean(each.expandtabs())


def told(home: Path) -> None:
    """After a command has ended: what it left in its overlay. One without changes is thrown away."""
    try:
        with store.held(home):
            count = len(_changes(home))
            if count == 0:
                store.discard(home)
                return
    except SyscallError as failed:  # it is still there to be looked at
        say(failed.message)
        return
    number = home.name
    say(f"{count} changes are kept apart: 'kernos diff {number}', then 'kernos apply {number}' or 'discard {number}'")

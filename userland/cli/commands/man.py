"""`kernos man` and `kernos syscalls`: the manual, made from the table."""

import difflib

import click

from syscalls.row import Flag, Row
from syscalls.table import BY_NAME, TABLE
from userland.cli import manual
from userland.cli.failures import NOT_FOUND, Failure
from userland.cli.options import SETTINGS, lists, output
from userland.cli.output import show_rows, show_value, write_lines
from userland.cli.table import Column

COLUMNS = (
    Column("NUMBER", lambda row: f"0x{row.number:02X}"),
    Column("NAME", lambda row: row.name),
    Column("RIGHT", lambda row: f"{row.needs.resource} {row.needs.action}" if row.needs else "-", wide=True),
    Column("WHAT IT DOES", manual.summary),
)


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos man                     all system calls
  kernos man context.generate    one of them
  kernos man spawn               by the end of its name
""",
)
@click.argument("name", required=False)
@output("table", "json")
def man(*, name: str | None, output: str) -> None:
    """Show the manual page of the system call NAME; without a name, list them all."""
    if name is None:
        _list("table" if output == "table" else output)
        return
    row = find(name)
    if output == "json":
        show_value(described(row), output=output)
    else:
        write_lines(manual.page(row))


@click.command(context_settings=SETTINGS, epilog="Example: kernos syscalls -o json")
@lists
def syscalls(*, output: str, quiet: bool, no_trunc: bool) -> None:
    """List the system calls: number, name, right, what each does."""
    _list(output, quiet=quiet, whole=no_trunc)


def find(name: str) -> Row:
    """The row of a call by its name or the end of it. Raises Failure with the nearest names."""
    if name in BY_NAME:
        return BY_NAME[name]
    ending = [row for row in TABLE.values() if row.name.endswith(f".{name}")]
    if len(ending) == 1:
        return ending[0]
    near = [row.name for row in ending] or difflib.get_close_matches(name, BY_NAME, n=1, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; 'kernos man' lists them all"
    raise Failure(f"there is no system call {name!r}{hint}", NOT_FOUND)


def described(row: Row) -> dict[str, object]:
    """A row as plain data."""
    return {
        "number": row.number,
        "name": row.name,
        "summary": manual.summary(row),
        "doc": row.doc,
        "synopsis": manual.synopsis(row),
        "arguments": [_field(*field) for field in manual.fields_of(row.args)],
        "result": manual.type_name(row.result) if row.result else None,
        "item": manual.type_name(row.item) if row.item else None,
        "right": {"action": row.needs.action, "resource": row.needs.resource} if row.needs else None,
        "flags": [flag.name for flag in Flag if flag in row.flags],
        "errors": manual.errors_of(row),
    }


def _field(name: str, kind: str, default: str) -> dict[str, str | None]:
    return {"name": name, "type": kind, "default": default.removeprefix(" = ") or None}


def _list(output: str, *, quiet: bool = False, whole: bool = False) -> None:
    rows = [TABLE[number] for number in sorted(TABLE)]
    if output in ("json", "yaml") and not quiet:
        show_value([described(row) for row in rows], output=output)
    else:
        show_rows(rows, COLUMNS, name=lambda row: row.name, output=output, quiet=quiet, whole=whole)

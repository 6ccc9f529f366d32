"""`kernos man` and `kernos syscalls`: the manual and the schemas, made from the table."""

import difflib
import json

import click

from syscalls.calls.plugin import PluginCall
from syscalls.row import Flag, Row
from syscalls.table import BY_NAME, TABLE
from userland.cli import manual, plugins, reference
from userland.cli.failures import NOT_FOUND, Failure
from userland.cli.options import SETTINGS, lists, output, which_kernel
from userland.cli.output import show_rows, show_value, write_lines
from userland.cli.session import Session
from userland.cli.table import Column

_SHORT = {
    Flag.INLINE: "i",
    Flag.STREAM: "s",
    Flag.IDEMPOTENT: "r",
    Flag.EFFECT: "e",
    Flag.JOURNALED: "j",
    Flag.SECRET: "x",
}
COLUMNS = (
    Column("NUMBER", lambda row: f"0x{row.number:02X}"),
    Column("NAME", lambda row: row.name),
    Column("RIGHT", lambda row: _right(row)),
    Column("FLAGS", lambda row: _flags(row)),
    Column("WHAT IT DOES", lambda row: manual.summary(row) if isinstance(row, Row) else plugins.summary(row)),
)


def _right(row: Row | PluginCall) -> str:
    if isinstance(row, PluginCall):
        return row.right
    return f"{row.needs.resource} {row.needs.action}" if row.needs else "-"


def _flags(row: Row | PluginCall) -> str:
    """A package's call is an effect, as far as anybody knows."""
    flags = row.flags if isinstance(row, Row) else Flag.EFFECT
    return "".join(letter if flag in flags else "-" for flag, letter in _SHORT.items())


_PAGES = {"errno": reference.errno_page, "errors": reference.errno_page, "signal": reference.signal_page,
          "signals": reference.signal_page}  # fmt: skip


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  kernos man                     all system calls
  kernos man context.generate    one of them
  kernos man spawn               by the end of its name
  kernos man errno               the errors; kernos man signal: the signals
  kernos man -o md               the whole manual, as docs/syscalls.md
""",
)
@click.argument("name", required=False)
@output("table", "json", "md")
@which_kernel
@click.pass_obj
def man(session: Session, *, name: str | None, output: str) -> None:
    """Show the manual page of the system call NAME, or of `errno` or `signal`; without a name, list all calls.

    A call of an installed package is asked of the kernel that answers: it is called PACKAGE.CALL.

    A page says what the call does, what it waits for, what a cancellation leaves, what it costs, what a durable
    process's journal keeps of it, and what each error means there.
    """
    if name is None:
        write_lines(reference.markdown()) if output == "md" else _list(session, output)
    elif name.lower() in _PAGES:
        write_lines(_PAGES[name.lower()]())
    elif is_plugins(name) and (found := plugins.find(session, name)) is not None:
        show_value(plugins.described(found), output=output) if output == "json" else write_lines(plugins.page(found))
    elif output == "json":
        show_value(described(find(name)), output=output)
    elif output == "md":
        write_lines(reference.page_markdown(find(name)))
    else:
        write_lines(manual.page(find(name)))


@click.command(
    context_settings=SETTINGS,
    epilog="""\b
Flags: i answered at once, s streams, r may be repeated after a crash, e an effect, j journaled, x secret.

\b
Examples:
  kernos syscalls
  kernos syscalls -o json
  kernos syscalls --schema       for a client in another language: frames, calls, JSON Schemas, errors
""",
)
@click.option("--schema", is_flag=True, help="The whole ABI as one JSON document")
@lists
@which_kernel
@click.pass_obj
def syscalls(session: Session, *, schema: bool, output: str, quiet: bool, no_trunc: bool) -> None:
    """List the system calls by family: number, name, the right each needs, flags, what it does; then those that the
    packages of the kernel that answers add."""
    if schema:
        from syscalls.schemas import document

        added = {"plugins": [plugins.described(each) for each in plugins.calls(session)]}
        write_lines([json.dumps({**document(), **added}, indent=1, ensure_ascii=False)])
    else:
        _list(session, output, quiet=quiet, whole=no_trunc)


def is_plugins(name: str) -> bool:
    """Whether it can only be a package's: `PACKAGE.CALL`, of no family of ours."""
    families = {row.name.partition(".")[0] for row in TABLE.values()}
    return "." in name and name.partition(".")[0] not in families


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
        "waits": row.says.waits,
        "cancelled": row.says.cancelled,
        "costs": row.says.costs,
        "journal": manual.journal_of(row),
        "errors": manual.errors_of(row),
    }


def _field(name: str, kind: str, default: str) -> dict[str, str | None]:
    return {"name": name, "type": kind, "default": default.removeprefix(" = ") or None}


def _list(session: Session, output: str, *, quiet: bool = False, whole: bool = False) -> None:
    rows: list[Row | PluginCall] = [*(TABLE[number] for number in sorted(TABLE)), *plugins.calls(session)]
    if output in ("json", "yaml") and not quiet:
        told = (described(row) if isinstance(row, Row) else plugins.described(row) for row in rows)
        show_value(list(told), output=output)
    else:
        show_rows(rows, COLUMNS, name=lambda row: row.name, output=output, quiet=quiet, whole=whole)

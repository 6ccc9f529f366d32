"""What a command prints as its result: a table for people, JSON or YAML for programs, bare names for shells."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
import msgspec

from userland.cli.failures import NoReader
from userland.cli.table import Column, render


def show_rows(
    rows: Sequence[Any],
    columns: Sequence[Column],
    *,
    name: Callable[[Any], str],
    output: str,
    quiet: bool = False,
    whole: bool = False,
) -> None:
    """Prints `rows` (structs) in the format asked for; a table is as wide as the terminal unless `whole`."""
    if quiet or output == "name":
        write_lines(name(row) for row in rows)
    elif output in ("json", "yaml"):
        show_value([plain(row) for row in rows], output=output)
    else:
        write_lines(table_lines(rows, columns, wide=output == "wide", whole=whole))


def table_lines(rows: Sequence[Any], columns: Sequence[Column], *, wide: bool, whole: bool = False) -> list[str]:
    """The lines of a table, cut to the terminal where there is one."""
    shown = [column for column in columns if wide or not column.wide]
    return render(shown, rows, width=None if whole else terminal_width())


def show_value(value: Any, *, output: str) -> None:
    """Prints plain data as JSON or YAML."""
    if output == "yaml":
        write_lines(yaml_lines(value))
    else:
        write_lines([json.dumps(value, indent=2, ensure_ascii=False)])


def json_line(value: Any) -> str:
    """A struct or plain data as JSON in one line: what streams print."""
    return json.dumps(plain(value), ensure_ascii=False)


def plain(value: Any) -> Any:
    """Structs as objects with all their fields (the wire leaves defaults out, scripts want the keys), raw msgpack as
    what it holds."""
    if isinstance(value, msgspec.Raw):
        return plain(msgspec.msgpack.decode(value))
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else msgspec.to_builtins(value)


def yaml_lines(value: Any, indent: str = "") -> Iterable[str]:
    """YAML in block style; scalars are written as JSON writes them, which YAML reads the same."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _yaml_entry(f"{indent}{key}:", item, indent + "  ")
    elif isinstance(value, list) and value:
        for item in value:
            lines = list(yaml_lines(item, indent + "  "))
            yield f"{indent}- {lines[0].lstrip()}"
            yield from lines[1:]
    else:
        yield indent + json.dumps(value, ensure_ascii=False)


def _yaml_entry(head: str, item: Any, indent: str) -> Iterable[str]:
    if isinstance(item, dict | list) and item:
        yield head
        yield from yaml_lines(item, indent)
    else:
        yield f"{head} {json.dumps(item, ensure_ascii=False)}"


def write_lines(lines: Iterable[str]) -> None:
    """To stdout, at once."""
    text = "".join(line + "\n" for line in lines)
    write(text)


def write(text: str) -> None:
    """To stdout, flushed; what the terminal's encoding lacks is replaced. Raises NoReader once nobody reads."""
    try:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:
            encoding = sys.stdout.encoding or "ascii"
            sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise NoReader from None


def terminal_width() -> int | None:
    """Cells across, or None where stdout is no terminal."""
    if not is_terminal():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    try:
        return sys.stdout.isatty()
    except ValueError:  # closed
        return False


def coloured(text: str, **style: Any) -> str:
    """`text` in colours, where a person reads it and has not set NO_COLOR."""
    return click.style(text, **style) if is_terminal() and not os.environ.get("NO_COLOR") else text

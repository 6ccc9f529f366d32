"""Tables for people: columns as wide as their content, lines as wide as the terminal."""

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

GAP = "  "
CUT = "…"


class Column(NamedTuple):
    """One column: its title, how to read its text from a row, which way it leans; `wide` ones are for `-o wide`."""

    title: str
    text: Callable[[Any], str]
    right: bool = False
    wide: bool = False


def render(columns: Sequence[Column], rows: Sequence[Any], *, width: int | None = None) -> list[str]:
    """Header and rows as lines. With `width`, a line that is too long loses its end to `…`.

    What does not print (control characters, escape sequences of a hostile name) is shown as `?`.
    """
    cells = [[column.title for column in columns]]
    cells += [[clean(column.text(row)) for column in columns] for row in rows]
    sizes = [max(cell_width(line[at]) for line in cells) for at in range(len(columns))]
    return [_line(columns, line, sizes, width) for line in cells]


def clean(text: str) -> str:
    """One line of printable characters."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def cell_width(text: str) -> int:
    """How many cells of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells."""
    if cell_width(text) <= width:
        return text
    kept, room = [], width - 1
    for char in text:
        room -= _char_width(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + CUT if width > 0 else ""


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _line(columns: Sequence[Column], cells: list[str], sizes: list[int], width: int | None) -> str:
    padded = []
    for column, cell, size in zip(columns, cells, sizes, strict=True):
        space = " " * (size - cell_width(cell))
        padded.append(space + cell if column.right else cell + space)
    line = GAP.join(padded).rstrip()
    return line if width is None else cut(line, width)

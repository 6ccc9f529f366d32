"""Wrapped text made whole again: each paragraph, and each item of a list, on one line.

A model quotes a sentence as it reads it, and a line that was broken to fit a screen is broken in the quote as well.
Only what looks like wrapped prose is touched: code, tables, headings and short lines stay as they are.
"""

import re
from pathlib import PurePath
from typing import Final

PROSE: Final = frozenset((".md", ".txt", ".rst", ".text", ""))
"""Endings of files whose lines are broken where they are for no other reason than their length."""
LINE_CHARS_MIN: Final = 40
"""A line that is shorter was broken for a reason."""
_VERBATIM = re.compile(r"^(\s*(```|~~~|>>>|\.\.\. |\||\$ |#|[*=~^-]{3}|\.\. )|.*::=|\t)", re.MULTILINE)
_CODE = re.compile(
    r"^\s*((async )?def \w+\(|class \w+[:(]|import \w+$|from \S+ import |(if|while|for|with) .*:$)|[={]$|\w\(.*\);?$"
)
_GOES_ON = re.compile(r"\s*[\w\"'`(\[<*_-]")
_ITEM = re.compile(r"\s*([*+-]|\d+[.)]) ")


def is_prose(name: str) -> bool:
    """Whether the lines of a file of that name may be joined."""
    return PurePath(name).suffix.lower() in PROSE


def reflowed(paragraph: str) -> str:
    """The paragraph with its wrapped lines joined; no word of it is lost."""
    lines = paragraph.split("\n")
    if _VERBATIM.search(paragraph) or any(_CODE.search(line) for line in lines):
        return paragraph
    joined = lines[:1]
    for line, before in zip(lines[1:], lines[:-1], strict=True):
        if len(before) >= LINE_CHARS_MIN and _GOES_ON.match(line) and not _ITEM.match(line):
            joined[-1] = f"{joined[-1].rstrip()} {line.lstrip()}"
        else:
            joined.append(line)
    return "\n".join(joined)

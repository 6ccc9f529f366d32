"""What `kernos pkg new` writes: a package that builds, installs and answers, to be changed from there."""

from pathlib import Path
from typing import Final

from userland.skeletons.begun import begin

_TOOL_ADDS: Final = """\
# What the package adds. Programs are run as {name}:PROGRAM, tools appear as devices.
[tool.kernos.programs]
sum-up = "{module}:sum_up"

[tool.kernos.tools]
{name} = "{module}:*"

# What it asks for, each with the reason that people are shown. Nothing else is possible.
[[tool.kernos.rights]]
right = "model:* generate"
why = "to sum up what you give it"
"""
_TOOL: Final = '''\
"""A tool that counts words, and a program that has a model sum them up."""

from kernos import Sys, program, system, tool, user


@tool
def count(text: str) -> int:
    """Counts the words of a text."""
    return len(text.split())


@program
async def sum_up(sys: Sys, text: str) -> str:
    """Sums up TEXT in a sentence."""
    answer = await sys.generate(system("You sum up texts in one sentence."), user(text))
    return answer.text
'''
_PARSER_ADDS: Final = """\
# What the package adds: a function that makes text of the files whose names end so, and of what has these media types.
# It needs no rights: it is given the bytes of one file, in a worker of its own.
[tool.kernos.parsers.csv]
parse = "{module}:rows"
suffixes = [".csv"]
types = ["text/csv"]
"""
_PARSER: Final = '''\
"""A parser: it makes text of tables, so that programs can read them."""

import csv
import io
from collections.abc import Iterator


def rows(data: bytes) -> Iterator[str]:
    """A paragraph for each row: what stands in which column. What it raises is what people are told of the file."""
    for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig"))):
        yield "; ".join(f"{{column}}: {{value}}" for column, value in row.items() if value)
'''


def tool_package(folder: Path) -> list[Path]:
    """Writes a new package with a tool and a program into `folder`; the files. Raises what `begin` raises."""
    return begin(folder, _TOOL_ADDS, {"{module}.py": _TOOL}, what="Counts words, and lets a model sum up")


def parser_package(folder: Path) -> list[Path]:
    """As `tool_package`, with a parser of documents."""
    return begin(folder, _PARSER_ADDS, {"{module}.py": _PARSER}, what="Makes text of tables")

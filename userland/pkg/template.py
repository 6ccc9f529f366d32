"""What `kernos pkg new` writes: a package that builds, installs and answers, to be changed from there."""

from pathlib import Path
from typing import Final

from syscalls.errors import Busy, Invalid
from syscalls.package import normal_name

_PYPROJECT: Final = """\
[build-system]
requires = ["kernos"]
build-backend = "kernos.build"

[project]
name = "{name}"
version = "0.1.0"
description = "Counts words, and lets a model sum up"
requires-python = ">=3.11"
dependencies = []

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
_MODULE: Final = '''\
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


def begin(folder: Path) -> list[Path]:
    """Writes a new package into `folder`, which is new or empty; the files. Raises Busy (EBUSY) for one that is not,
    Invalid for a name that no package can have."""
    name = normal_name(folder.absolute().name)
    module = name.replace("-", "_")
    if not module.isidentifier() or not name.isascii():
        raise Invalid(f"{folder.name!r}: a package is called by letters, digits and '-', a letter first")
    if folder.exists() and any(folder.iterdir()):
        raise Busy(f"{folder} is there and not empty")
    folder.mkdir(parents=True, exist_ok=True)
    pyproject, code = folder / "pyproject.toml", folder / f"{module}.py"
    pyproject.write_text(_PYPROJECT.format(name=name, module=module))
    code.write_text(_MODULE)
    return [pyproject, code]

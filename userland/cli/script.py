"""What a script says it needs, in itself: the block `# /// script` at which PEP 723 looks.

    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["requests<3", "rich"]
    # ///

A block ends at the last `# ///` of the comment lines that follow its first line, so that a block may hold such lines.
One that does not end is none, as the PEP has it. Blocks of other types, and `[tool]`, are for others.
"""

import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, final

from msgspec import Struct
from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from userland.cli.failures import ERROR, USAGE, Failure

_OPENS: Final = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_CLOSES: Final = "# ///"


@final
class Script(Struct, frozen=True):
    """What it needs. `dependencies` are requirements in their one form, sorted, each once; those whose markers say that
    they are not for this machine are left out."""

    requires_python: str = ""
    dependencies: tuple[str, ...] = ()


class _Block(NamedTuple):
    kind: str
    line: int
    text: str


def read_script(path: Path) -> Script | None:
    """What the script at `path` says, None where it says nothing. Raises Failure."""
    try:
        with tokenize.open(path) as file:
            text = file.read()
    except (SyntaxError, UnicodeDecodeError) as bad:
        raise Failure(f"{path}: {bad}", USAGE) from None
    return parse_script(text, name=str(path))


def parse_script(text: str, *, name: str) -> Script | None:
    """What the source `text` says of itself. Raises Failure: `name`, the line where there is one, and what to do."""
    found = [block for block in _blocks(text) if block.kind == "script"]
    if not found:
        return None
    if len(found) > 1:
        raise Failure(
            f"{name}: a second '# /// script' in line {found[1].line} (the first is in line {found[0].line}): "
            "make them one",
            USAGE,
        )
    try:
        # Empty lines in front: what is wrong with the TOML is told with its line in the file.
        said = tomllib.loads("\n" * found[0].line + found[0].text)
    except tomllib.TOMLDecodeError as bad:
        raise Failure(f"{name}: the block '# /// script' is no TOML: {bad}", USAGE) from None
    return Script(_python(said, name), _dependencies(said, name))


def check_python(script: Script, version: str, *, name: str) -> None:
    """Raises Failure unless Python `version` is one that the script is for."""
    if not SpecifierSet(script.requires_python).contains(version, prereleases=True):
        raise Failure(
            f"{name} needs Python {script.requires_python}, and this kernos runs on {version}: install kernos under a "
            "Python that fits, or change requires-python",
            ERROR,
        )


def _blocks(text: str) -> Iterator[_Block]:
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        opened = _OPENS.fullmatch(lines[at])
        at += 1
        if opened is None:
            continue
        end = at
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            end += 1
        last = next((n for n in range(end - 1, at, -1) if lines[n] == _CLOSES), None)
        if last is not None:
            yield _Block(opened[1], at, "\n".join(line[2:] for line in lines[at:last]) + "\n")
            at = last + 1


def _python(said: dict[str, Any], name: str) -> str:
    wanted = said.get("requires-python", "")
    try:
        if not isinstance(wanted, str):
            raise InvalidSpecifier
        return str(SpecifierSet(wanted))
    except InvalidSpecifier:
        raise Failure(f"{name}: requires-python is {wanted!r}: write versions, as in '>=3.11'", USAGE) from None


def _dependencies(said: dict[str, Any], name: str) -> tuple[str, ...]:
    wanted = said.get("dependencies", [])
    if not isinstance(wanted, list) or not all(isinstance(each, str) for each in wanted):
        raise Failure(f"{name}: dependencies is {wanted!r}: write a list of texts, as in ['requests<3', 'rich']", USAGE)
    return tuple(sorted({str(each) for each in (_requirement(text, name) for text in wanted) if each is not None}))


def _requirement(text: str, name: str) -> Requirement | None:
    try:
        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate()
    except (InvalidRequirement, UndefinedEnvironmentName) as bad:
        why = str(bad).partition("\n")[0]
        raise Failure(f"{name}: dependency {text!r} is none ({why}): write as in 'requests[socks]<3'", USAGE) from None
    requirement.name = canonicalize_name(requirement.name)
    requirement.marker = None
    return requirement if applies else None

"""What a package adds and asks for: in words, and with its blanks filled in."""

from typing import Final

from syscalls.errors import Invalid
from syscalls.package import Ask, Manifest
from syscalls.rights import Right

_EXTENSIONS: Final = {"drivers": "driver", "policies": "policy", "commands": "command", "sources": "model source"}


def adds(manifest: Manifest) -> list[str]:
    """A line for each thing that it adds, with how it is used."""
    name = manifest.name
    lines = [f"program  kernos run {name}:{each}" for each in sorted(manifest.programs)]
    lines += [f"tool     {each}" for each in sorted(manifest.tools)]
    lines += [f"call     {name}.{each}" for each in sorted(manifest.syscalls)]
    lines += [f"parser   {', '.join(parser.kinds)}" for _, parser in sorted(manifest.parsers.items())]
    for kind, word in _EXTENSIONS.items():
        lines += [f"{word:<8} {each}, outside the sandbox" for each in sorted(getattr(manifest, kind))]
    return lines


def ways(manifest: Manifest) -> str:
    """The same in one line."""
    return "; ".join(" ".join(line.split()).removeprefix("program ") for line in adds(manifest)) or "it adds nothing"


def filled(manifest: Manifest, values: dict[str, str]) -> tuple[tuple[Ask, Right], ...]:
    """What it asks for, its blanks filled in; what it can do without and nobody filled in is left out. Raises Invalid
    (EINVAL) for a value that is missing, or means more than itself."""
    wanted = (ask for ask in manifest.rights if not ask.optional or all(name in values for name in ask.blanks))
    try:
        return tuple((ask, ask.filled(values)) for ask in wanted)
    except ValueError as bad:
        raise Invalid(f"{manifest.name}: {bad}") from None

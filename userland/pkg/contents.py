"""What a package adds, in words."""

from typing import Final

from syscalls.package import Manifest

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

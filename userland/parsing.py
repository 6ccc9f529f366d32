"""Parsers in their worker: a document goes in, text comes out."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from syscalls.errors import IOFailed
from syscalls.worker import Parse, Parsed
from userland.loading import load_function, see_packages


async def parse(args: Parse) -> Parsed:
    """Calls the function with the bytes, and with the file's name where it takes two arguments. What it returns is the
    text; what it yields are pieces of it, with an empty line between them.

    Raises IOFailed (EIO) for what is no text or more than was asked for, and whatever the function raises."""
    see_packages(args.packages)
    function = load_function(args.program)
    made: Any = function(*(args.data, args.file)[: _takes(function)])
    if inspect.isawaitable(made):
        made = await made
    pieces = (made,) if isinstance(made, str) else made
    if not isinstance(pieces, Iterable) or isinstance(pieces, bytes | bytearray):
        raise IOFailed(f"it gave a {type(made).__name__}: a parser returns text, or yields pieces of it")
    return Parsed(text=_joined(pieces, args.text_bytes_max))


def _joined(pieces: Iterable[Any], bytes_max: int) -> str:
    kept: list[str] = []
    room = bytes_max
    for piece in pieces:
        if not isinstance(piece, str):
            raise IOFailed(f"it gave a {type(piece).__name__}: a parser returns text, or yields pieces of it")
        clean = piece.encode(errors="replace").decode()
        room -= len(clean.encode()) + 2 * bool(kept)
        if room < 0:
            raise IOFailed(f"more than {bytes_max} bytes of text come of it: split it")
        kept.append(clean)
    return "\n\n".join(kept)


def _takes(function: Callable[..., Any]) -> int:
    """Whether it wants the name as well."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some that are written in C do not say
        return 1
    places = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    return 2 if len([each for each in places if each.default is each.empty]) >= 2 else 1

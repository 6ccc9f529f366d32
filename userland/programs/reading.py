"""How the shipped programs read documents: text as it is, and by parsers of installed packages what is none."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import trio

from syscalls.errors import IOFailed, SyscallError
from userland.documents import Document, Skipped, Unparsed, made_of, read_folder
from userland.sdk.parsing import Parsers
from userland.sdk.system import Sys

AT_ONCE: Final = 4
"""As many as the kernel parses at once for a process, unless it is told otherwise."""
WAITING_MAX: Final = 16
"""How many files are read ahead of one that is being parsed."""


async def documents(sys: Sys, folder: Path) -> AsyncIterator[Document | Skipped]:
    """Every file below `folder`, or that one, in order; AT_ONCE are parsed at a time. What a parser makes nothing of is
    skipped, and the rest goes on. Raises OSError for a folder that cannot be read."""
    parsers = await _parsers(sys)
    waiting: list[Document | Skipped | Unparsed] = []
    for found in read_folder(folder, lambda name: parsers.match(name) is not None):
        await trio.lowlevel.checkpoint()
        waiting.append(found)
        if len(waiting) == WAITING_MAX or sum(isinstance(each, Unparsed) for each in waiting) in (0, AT_ONCE):
            for each in await _read(parsers, waiting):
                yield each
            waiting = []
    for each in await _read(parsers, waiting):
        yield each


async def document(sys: Sys, path: Path) -> Document | Skipped:
    """One file. Raises IOFailed (EIO) where it cannot be read."""
    try:
        found = [each async for each in documents(sys, path)]
    except OSError as failed:
        raise IOFailed(f"{path}: {failed.strerror}") from None
    if len(found) != 1:
        raise IOFailed(f"{path} is no file")
    return found[0]


async def _parsers(sys: Sys) -> Parsers:
    """None of them where this program may not know them."""
    try:
        return await sys.parsers()
    except SyscallError:
        return Parsers()


async def _read(parsers: Parsers, found: list[Document | Skipped | Unparsed]) -> list[Document | Skipped]:
    """All of them parsed, in their order."""
    read: dict[int, Document | Skipped] = {}

    async def parse(at: int, each: Unparsed) -> None:
        try:
            read[at] = made_of(each.name, await parsers(each.data, file=each.name), prose=True)
        except SyscallError as failed:
            read[at] = Skipped(each.name, failed.message)

    async with trio.open_nursery() as nursery:
        for at, each in enumerate(found):
            if isinstance(each, Unparsed):
                nursery.start_soon(parse, at, each)
            else:
                read[at] = each
    return [read[at] for at in range(len(found))]

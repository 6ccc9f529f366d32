"""How the shipped programs read documents: text as it is, and by parsers of installed packages what is none."""

from collections.abc import AsyncIterator
from pathlib import Path

import trio

from syscalls.errors import IOFailed, SyscallError
from userland.documents import Document, Skipped, Unparsed, made_of, read_folder
from userland.sdk.parsing import Parsers
from userland.sdk.system import Sys


async def documents(sys: Sys, folder: Path) -> AsyncIterator[Document | Skipped]:
    """Every file below `folder`, or that one. What a parser makes nothing of is skipped, and the rest goes on. Raises
    OSError for a folder that cannot be read."""
    parsers = await _parsers(sys)
    for found in read_folder(folder, lambda name: parsers.match(name) is not None):
        await trio.lowlevel.checkpoint()
        yield await _parsed(parsers, found) if isinstance(found, Unparsed) else found


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


async def _parsed(parsers: Parsers, found: Unparsed) -> Document | Skipped:
    try:
        return made_of(found.name, await parsers(found.data, file=found.name))
    except SyscallError as failed:
        return Skipped(found.name, failed.message)

"""System calls from outside: any Python program on trio or asyncio, over the kernel's socket."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from syscalls.calls import process
from syscalls.errors import BrokenPipe
from syscalls.paths import socket_path
from userland.sdk.door import Door
from userland.sdk.sole import sole
from userland.sdk.system import Sys


@contextlib.asynccontextmanager
async def connect(path: str | Path | None = None) -> AsyncIterator[Sys]:
    """The system calls of this OS process, as a session of the running kernel; it ends with the block.

    `async with connect() as sys: …` finds the kernel as the command line does. Raises BrokenPipe (EPIPE) that says
    how to start one.
    """
    from syscalls.link import async_  # anyio is for those who connect, not for every worker

    where = str(path or socket_path())
    try:
        opening = async_.connect(where)
        link = await opening.__aenter__()
    except OSError as failed:
        raise BrokenPipe(
            f"no kernel answers at {where}: {failed.strerror or failed}; start one with 'kernos up'"
        ) from None
    try:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_exit(opening)
            door = Door(link, 0)
            info = await door.call(process.SELF, process.Self())
            yield Sys(door, pid=info.pid, model=info.model or None)
    except BaseExceptionGroup as group:  # the link's tasks wrap what the block raised
        raise sole(group) from None

"""System calls from outside: any Python program on trio or asyncio, over the kernel's socket or over TLS."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from syscalls.calls import process
from syscalls.errors import BrokenPipe
from syscalls.link.duplex import Duplex
from syscalls.paths import socket_path
from userland.sdk.door import Door
from userland.sdk.sole import sole
from userland.sdk.system import Sys

FileOrText = str | os.PathLike[str]


@contextlib.asynccontextmanager
async def connect(
    path: str | Path | None = None,
    *,
    host: str | None = None,
    ca: FileOrText = "",
    cert: FileOrText = "",
    key: FileOrText = "",
    credential: FileOrText = "",
) -> AsyncIterator[Sys]:
    """The system calls of this OS process, as a session of a running kernel; it ends with the block.

    `async with connect() as sys: …` finds the kernel of this machine as the command line does; with `host` (or
    `$KERNOS_HOST`) it is one elsewhere, by its name in kernos.toml or HOST:PORT: see `userland.hosts.find_host` for
    the rest. While the kernel keeps the session (60 s unless it says otherwise), a lost connection only takes time:
    nothing is lost and nothing done twice; afterwards calls fail with BrokenPipe (EPIPE).

    Raises BrokenPipe (EPIPE) that says how to start a kernel, PermissionDenied (EPERM) where it will not have us.
    """
    try:
        async with contextlib.AsyncExitStack() as stack:
            there = host or ("" if path else os.environ.get("KERNOS_HOST", ""))
            if there:
                link = await _dial(stack, there, ca=ca, cert=cert, key=key, credential=credential)
            else:
                link = await _open(stack, str(path or socket_path()))
            door = Door(link, 0)
            info = await door.call(process.SELF, process.Self())
            yield Sys(door, pid=info.pid, model=info.model or None)
    except BaseExceptionGroup as group:  # the link's tasks wrap what the block raised
        raise sole(group) from None


async def _open(stack: contextlib.AsyncExitStack, where: str) -> Duplex:
    from syscalls.link import async_  # anyio is for those who connect, not for every worker

    try:
        return await stack.enter_async_context(async_.connect(where))
    except OSError as failed:
        if isinstance(failed, BrokenPipe):
            raise
        raise BrokenPipe(
            f"no kernel answers at {where}: {failed.strerror or failed}; start one with 'kernos up'"
        ) from None


async def _dial(
    stack: contextlib.AsyncExitStack,
    host: str,
    *,
    ca: FileOrText,
    cert: FileOrText,
    key: FileOrText,
    credential: FileOrText,
) -> Duplex:
    from syscalls.link.dial import connect_remote
    from userland.hosts import find_host

    remote = find_host(host, ca=ca, cert=cert, key=key, credential=credential)
    return await stack.enter_async_context(connect_remote(remote))

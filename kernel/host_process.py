"""The OS process of a driver host: how it is started, what it is reached by, how it is ended."""

import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, final

import trio

from kernel.loop import TRIO
from syscalls.errors import IOFailed
from syscalls.link.transport import SocketTransport, Transport


class HostProcess(Protocol):
    """A driver host that is starting. `pid` is 0 where it is no OS process (in tests)."""

    @property
    def pid(self) -> int: ...
    @property
    def transport(self) -> Transport: ...
    async def end(self) -> int | None: ...


StartHost = Callable[[str, Path], Awaitable[HostProcess]]
"""Starts the host of a driver, its output into a log file. Raises IOFailed (EIO)."""


@final
class ChildProcess:
    """A host as a child of the kernel."""

    def __init__(self, process: trio.Process, transport: SocketTransport) -> None:
        self._process = process
        self._transport = transport

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def transport(self) -> Transport:
        return self._transport

    async def end(self) -> int | None:
        """Kills and reaps it; its exit status."""
        status: int | None = None
        with trio.CancelScope(shield=True):
            self._transport.close()
            self._process.kill()
            status = await self._process.wait()
        return status  # noqa: RET504 (mypy takes a shielded scope for one that may swallow)


async def start_child(driver: str, log_file: Path) -> HostProcess:
    """`python -m drivers.host DRIVER`, reached over an inherited socket: named as a string, never imported."""
    ours, theirs = socket.socketpair()
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with theirs, log_file.open("ab") as log:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "drivers.host", driver, "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PYTHONUNBUFFERED": "1", **os.environ},
                start_new_session=True,  # a Ctrl-C at the terminal is the kernel's to handle
            )
    except OSError as failed:
        ours.close()
        raise IOFailed(f"the host of driver {driver} cannot be started: {failed}") from None
    return ChildProcess(process, SocketTransport(ours, TRIO))

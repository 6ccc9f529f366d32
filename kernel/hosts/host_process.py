"""The OS process of a driver host: how it is started, what it is reached by, how it is ended."""

import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, final

import trio

from kernel.loop import TRIO
from syscalls.driver import LEDGER_PAGE
from syscalls.errors import IOFailed
from syscalls.link.transport import SocketTransport, Transport


class HostProcess(Protocol):
    """A driver host that is starting. `pid` is 0 where it is no OS process (in tests). `counted` is its own count of
    tokens read and generated, also after its end."""

    @property
    def pid(self) -> int: ...
    @property
    def transport(self) -> Transport: ...
    def counted(self) -> tuple[int, int]: ...
    async def end(self) -> int | None: ...


StartHost = Callable[[str, Path], Awaitable[HostProcess]]
"""Starts the host of a driver, its output into a log file. Raises IOFailed (EIO)."""


@final
class ChildProcess:
    """A host as a child of the kernel."""

    def __init__(self, process: trio.Process, transport: SocketTransport, page: mmap.mmap) -> None:
        self._process = process
        self._page = page
        self._transport = transport

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def transport(self) -> Transport:
        return self._transport

    def counted(self) -> tuple[int, int]:
        """What it wrote into the page that it shares with us."""
        read, generated = LEDGER_PAGE.unpack_from(self._page)
        return read, generated

    async def end(self) -> int | None:
        """Kills and reaps it; its exit status."""
        status: int | None = None
        with trio.CancelScope(shield=True):
            self._transport.close()
            self._process.kill()
            status = await self._process.wait()
        return status  # noqa: RET504 (mypy takes a shielded scope for one that may swallow)


_HOST = (sys.executable, "-m", "drivers.host")


async def start_child(driver: str, log_file: Path, *, site: str = "") -> HostProcess:
    """`python -m drivers.host DRIVER`, reached over an inherited socket: named as a string, never imported. `site` is
    the folder of the package that brings it."""
    ours, theirs = socket.socketpair()
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with theirs, _shared_page() as (page, ledger), log_file.open("ab") as log:
            process = await trio.lowlevel.open_process(
                [
                    *_HOST,
                    driver,
                    "--fd",
                    str(theirs.fileno()),
                    "--ledger",
                    str(ledger),
                    *(["--site", site] if site else []),
                ],
                pass_fds=[theirs.fileno(), ledger],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PYTHONUNBUFFERED": "1", **os.environ},
                start_new_session=True,  # a Ctrl-C at the terminal is the kernel's to handle
            )
    except OSError as failed:
        ours.close()
        raise IOFailed(f"the host of driver {driver} cannot be started: {failed}") from None
    return ChildProcess(process, SocketTransport(ours, TRIO), page)


@contextmanager
def _shared_page() -> Iterator[tuple[mmap.mmap, int]]:
    """Memory to share with a child: as we see it, and the descriptor to hand on. The memory outlives both."""
    file = _memory_file()
    try:
        os.ftruncate(file, LEDGER_PAGE.size)
        yield mmap.mmap(file, LEDGER_PAGE.size), file
    finally:
        os.close(file)


def _memory_file() -> int:
    """A file without a name: in memory where the system has such, else in the folder for temporary ones."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("kernos-ledger")
    with tempfile.TemporaryFile(prefix="kernos-ledger-") as file:
        return os.dup(file.fileno())

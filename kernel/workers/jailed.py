"""What runs in a jail, as the kernel holds it: a worker, an executable."""

import os
import signal
import socket
from collections.abc import Callable
from typing import Final, final

import trio

from kernel.loop import TRIO
from kernel.workers.disk import DiskWatch, Writer
from kernel.workers.governor import Governor
from kernel.workers.launch import CommandEnd
from kernel.workers.room import Ground
from sandbox.ending import finish
from sandbox.worker import Command, Worker
from syscalls.link.transport import SocketTransport
from syscalls.worker_limits import WorkerLimits, show_limit

NO_GROUND: Final = Ground()
_TICKS: Final = 0.75
"""The system counts ticks against RLIMIT_CPU and tells exact time afterwards; on a busy machine that is less."""


@final
class JailedWorker:
    """A confined worker: its socket, its raw output, its signals, its end."""

    def __init__(
        self,
        worker: Worker,
        limits: WorkerLimits,
        governor: Governor,
        disk: DiskWatch,
        control: socket.socket | None = None,
        *,
        ground: Ground = NO_GROUND,
    ) -> None:
        self._worker = worker
        self._limits = limits
        self._governor = governor
        self._disk = disk
        governor.watch(worker.pid, worker.group)
        if worker.mediated is not None and limits.disk_bytes is not None:  # no other can write a file that has a disk
            disk.watch(Writer(pid=worker.pid, most=limits.disk_bytes, over=self._overwrote, ground=ground))
        self.over = ""
        self.control = control
        self.transport = SocketTransport(worker.sock, TRIO)
        self._reaped = trio.Event()

    @property
    def pid(self) -> int:
        return self._worker.pid

    def signal(self, signum: int) -> None:
        """A signal of the machine; nothing happens to one that has been reaped."""
        if not self._reaped.is_set():
            if signum == signal.SIGKILL:
                self._governor.hurry(self._worker.pid)
            try:
                signal.pidfd_send_signal(self._worker.pidfd, signum)
            except ProcessLookupError:
                pass
            if signum == signal.SIGKILL and self._worker.group is not None:
                self._worker.group.kill()

    async def drain(self, sink: Callable[[str], None]) -> None:
        """Hands on what it writes to its raw descriptors 1 and 2, until they are closed."""
        stream = trio.lowlevel.FdStream(os.dup(self._worker.output))
        async with stream:
            async for data in stream:
                sink(bytes(data).decode(errors="replace"))

    async def wait(self) -> str:
        """Waits for its end, reaps it, and says how it ended."""
        exit_, cpu_s = await finish(self._worker.pidfd)
        self._governor.forget(self._worker.pid)
        self._disk.forget(self._worker.pid)
        self._reaped.set()
        self.over = _over_memory(self._worker, self._limits) or self.over
        allowed_s = self._limits.cpu_s
        if allowed_s is not None and cpu_s >= _TICKS * allowed_s and exit_.signal == signal.SIGKILL:
            self.over = show_limit("cpu_s", allowed_s)
        return f"signal {exit_.signal}" if exit_.signal is not None else f"status {exit_.code}"

    def _overwrote(self, what: str) -> None:
        self.over = what
        self.signal(signal.SIGKILL)

    async def aclose(self) -> None:
        """Closes the kernel's ends."""
        os.close(self._worker.output)
        self.transport.close()
        await trio.lowlevel.checkpoint()


async def end(worker: JailedWorker) -> None:
    """Kills and reaps one that nobody will use."""
    with trio.CancelScope(shield=True):
        worker.signal(signal.SIGKILL)
        await worker.wait()
        await worker.aclose()


def _over_memory(worker: Worker, limits: WorkerLimits) -> str:
    """The limit of memory, if the system has killed in the worker's group for that. The group goes."""
    group = worker.group
    if group is None:
        return ""
    over = group.ran_out_of_memory() and limits.memory_bytes is not None
    group.remove()
    return show_limit("memory_bytes", limits.memory_bytes) if over and limits.memory_bytes is not None else ""


@final
class JailedCommand:
    """An executable's jail."""

    def __init__(
        self, command: Command, limits: WorkerLimits, governor: Governor, disk: DiskWatch, ground: Ground
    ) -> None:
        self._command = command
        self._governor = governor
        self._disk = disk
        governor.watch_family(command.worker.pid, command.worker.group)
        self._limits = limits
        if limits.disk_bytes is not None:
            disk.watch(Writer(pid=self.pid, most=limits.disk_bytes, over=self._overwrote, ground=ground))
        self.over = ""
        self._reaped = trio.Event()
        self.terminal = command.terminal
        self._stdio = command.stdio

    @property
    def pid(self) -> int:
        return self._command.worker.pid

    @property
    def door(self) -> int:
        return self._command.door.fileno()

    def take_stdio(self) -> tuple[int, ...]:
        """Our ends of its 0, 1 and 2; the caller closes them."""
        taken, self._stdio = self._stdio, ()
        return taken

    def go(self) -> None:
        """Executes it."""
        self._command.go()

    def signal(self, signum: int) -> None:
        """STOP and CONT are for all that runs in the jail, others for the command's own group."""
        self._command.signal(signum)

    def kill(self) -> None:
        """Ends all that runs in the jail, at once."""
        if not self._reaped.is_set():
            try:
                signal.pidfd_send_signal(self._command.worker.pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass
            if self._command.worker.group is not None:
                self._command.worker.group.kill()

    def _overwrote(self, what: str) -> None:
        self.over = what
        self.kill()

    async def drain(self, sink: Callable[[str], None]) -> None:
        """Hands on what the first process of the jail says itself, until it is gone."""
        async with trio.lowlevel.FdStream(os.dup(self._command.worker.output)) as stream:
            async for data in stream:
                sink(bytes(data).decode(errors="replace"))

    async def ended(self) -> CommandEnd | None:
        """How the command ended; None where its jail was ended first."""
        told = await self._command.ended()
        allowed_s = self._limits.cpu_s
        if (
            told is not None
            and allowed_s is not None
            and told.signal == signal.SIGKILL
            and told.cpu_s >= _TICKS * allowed_s
        ):
            self.over = show_limit("cpu_s", allowed_s)
        return None if told is None else CommandEnd(code=told.code, signal=told.signal, failed=told.failed)

    async def wait(self) -> str:
        """Waits for the end of the jail, reaps it, and says how it ended."""
        exit_, _ = await finish(self._command.worker.pidfd)
        self._governor.forget(self._command.worker.pid)
        self._disk.forget(self._command.worker.pid)
        self._reaped.set()
        self.over = _over_memory(self._command.worker, self._limits) or self.over
        return f"signal {exit_.signal}" if exit_.signal is not None else f"status {exit_.code}"

    async def aclose(self) -> None:
        """Closes the kernel's ends."""
        self._command.door.close()
        self._command.worker.sock.close()
        terminal = (self.terminal,) if self.terminal >= 0 else ()
        for fd in (self._command.worker.output, *self._stdio, *terminal):
            os.close(fd)
        await trio.lowlevel.checkpoint()

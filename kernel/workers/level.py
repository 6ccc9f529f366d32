"""Which workers there are: behind the jail, where the system has one; without, if the operator says so; or none.

The jail's modules are of Linux alone, and are imported only there.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import final

import trio

from kernel.config import Config
from kernel.loop import TRIO
from kernel.watch.trace import Trace
from kernel.workers.disk import DiskWatch
from kernel.workers.governor import Governor
from kernel.workers.launch import CommandRequest, Launched, LaunchedCommand, Launcher, LaunchRequest
from sandbox import weak
from sandbox.errors import JailError
from sandbox.spec import Limits, WorkerSpec
from syscalls.errors import IOFailed, NoSyscall, PermissionDenied
from syscalls.link.transport import SocketTransport
from syscalls.worker_limits import WorkerLimits, show_limit

ENTRY = "userland.worker:main"
_KEPT = ("cpu_s", "memory_bytes", "files", "file_bytes")


def choose_launcher(
    config: Config, governor: Governor, disk: DiskWatch, *, state_folder: Path, trace: Trace
) -> Launcher:
    """Of this system, as the operator allows it. What is weaker than the jail is told of, here and in the trace."""
    if weak.ALL in config.weak_sandbox:
        _tell(trace, f"no jail, as weak_sandbox says: {weak.HAS}")
        return WeakLauncher(trace)
    if sys.platform != "linux":
        launcher = NoLauncher(sys.platform)
        _tell(trace, launcher.why)
        return launcher
    from kernel.workers.jail import JailLauncher  # see above

    return JailLauncher(
        trace=trace, state_folder=state_folder, governor=governor, disk=disk, without=config.weak_sandbox
    )


def _tell(trace: Trace, what: str) -> None:
    trace.event("weak_sandbox", what=what)
    print(f"kernos: {what}", file=sys.stderr)


@final
class NoLauncher:
    """Where there is no jail and nobody said that it may be done without: programs and tools are refused, all else of
    the kernel works."""

    def __init__(self, platform: str) -> None:
        self.why = (
            f"{platform} has no jail, so neither programs nor tools are run; weak_sandbox = "
            f'["{weak.ALL}"] in kernos.toml allows that without: {weak.HAS}'
        )

    async def launch(self, request: LaunchRequest) -> Launched:
        await trio.lowlevel.checkpoint()
        raise PermissionDenied(self.why)

    async def command(self, request: CommandRequest) -> LaunchedCommand:
        await trio.lowlevel.checkpoint()
        raise NoSyscall("executables need the jail, which Linux alone has")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@final
class WeakLauncher:
    """Makes OS processes with resource limits, one for each worker, each a fresh interpreter."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    async def launch(self, request: LaunchRequest) -> Launched:
        if request.tier == "files":
            raise NoSyscall("the tier files needs the jail: without it every program opens what its user may, unasked")
        spec = WorkerSpec(entry=ENTRY, limits=_limits(request.limits))
        try:
            return WeakLaunched(await weak.start(spec), request.limits)
        except JailError as failed:
            raise IOFailed(f"no worker can be made: {failed}") from None

    async def command(self, request: CommandRequest) -> LaunchedCommand:
        await trio.lowlevel.checkpoint()
        raise NoSyscall(f'executables need the jail: take "{weak.ALL}" out of weak_sandbox')

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@final
class WeakLaunched:
    """A worker without a jail: its socket, its raw output, its signals, its end."""

    def __init__(self, worker: weak.WeakWorker, limits: WorkerLimits) -> None:
        self._worker = worker
        self._limits = limits
        self.over = ""
        self.control = None
        self.transport = SocketTransport(worker.sock, TRIO)

    @property
    def pid(self) -> int:
        return self._worker.pid

    def signal(self, signum: int) -> None:
        """A signal of the machine, to all that it has started too."""
        self._worker.signal(signum)

    async def drain(self, sink: Callable[[str], None]) -> None:
        """Hands on what it writes to its raw descriptors 1 and 2, until they are closed. Meanwhile what it leaves when
        it ends is ended: a child of its holds its socket, and would be taken for it."""
        async with trio.open_nursery() as nursery, trio.lowlevel.FdStream(os.dup(self._worker.output)) as stream:
            nursery.start_soon(self._worker.wait)
            async for data in stream:
                sink(bytes(data).decode(errors="replace"))

    async def wait(self) -> str:
        """Waits for its end, and says how it ended."""
        status = await self._worker.wait()
        if weak.overran(status) and self._limits.cpu_s is not None:
            self.over = show_limit("cpu_s", self._limits.cpu_s)
        return f"signal {-status}" if status < 0 else f"status {status}"

    async def aclose(self) -> None:
        """Closes the kernel's ends."""
        os.close(self._worker.output)
        self.transport.close()
        await trio.lowlevel.checkpoint()


def _limits(asked: WorkerLimits) -> Limits:
    return Limits(**{field: amount for field in _KEPT if (amount := getattr(asked, field)) is not None})

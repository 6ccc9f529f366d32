"""What stands at the other ends of an in-process kernel: workers without a jail, driver hosts without a process."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import trio
import trio.testing

from kernel.hosts.host_books import Counted
from kernel.hosts.host_process import HostProcess
from kernel.workers.launch import CommandRequest, Launched, LaunchedCommand, LaunchRequest
from syscalls.errors import NoSyscall
from syscalls.limits import CLIENT_LIMITS, DRIVER_LIMITS
from syscalls.link.duplex import Duplex
from syscalls.link.transport import Transport
from syscalls.peer import Peer
from syscalls.wire import Hello
from userland.link import run
from userland.sdk.program import Program
from userland.serving import Worker


@final
class Task:
    """Something that runs on one end of a memory stream; the other end is `transport`."""

    def __init__(self, transport: Transport, counted: Counted = lambda: (0, 0)) -> None:
        self.transport = transport
        self.counted = counted
        self.pid = 0
        self.over = ""
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

    def signal(self, signum: int) -> None:
        """KILL cancels it; STOP and CONT have nothing to hold here."""
        if signum == 9:
            self.scope.cancel()

    control: None = None
    """Nobody supervises it: its files and sockets are the test's own."""

    async def drain(self, sink: Callable[[str], None]) -> None:
        """It has no raw output."""
        await trio.sleep_forever()

    async def wait(self) -> str:
        """Waits for its end."""
        await self.ended.wait()
        return "task ended"

    async def aclose(self) -> None:
        """Nothing to close."""
        await trio.lowlevel.checkpoint()

    async def end(self) -> int | None:
        """Cancels it and waits."""
        self.scope.cancel()
        with trio.CancelScope(shield=True):
            await self.ended.wait()
        return 0


@final
class TaskLauncher:
    """Makes workers as tasks. `programs` are found by reference before anything is imported."""

    def __init__(self, nursery: trio.Nursery, programs: Mapping[str, Program]) -> None:
        self._nursery = nursery
        self._programs = programs

    async def launch(self, request: LaunchRequest) -> Launched:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        worker = Worker(Peer(CLIENT_LIMITS, Hello()), theirs, programs=self._programs)
        return _start(self._nursery, Task(ours), worker.serve)

    async def command(self, request: CommandRequest) -> LaunchedCommand:
        await trio.lowlevel.checkpoint()
        raise NoSyscall("executables need a jail on a real machine: 'kernos up', then 'kernos exec'")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@final
class TaskHosts:
    """Starts driver hosts as tasks: the server that runs in a host's process, without the process.

    `running` and `counts` are all that were ever started, and what each of them counted."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.running: list[Task] = []
        self.counts: list[Counted] = []

    async def __call__(self, driver: str, log_file: Path) -> HostProcess:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        # Named as strings, as the kernel names them: this package may know the kernel, but no driver.
        make_server: Any = importlib.import_module("drivers.serving").DriverServer
        load: Any = importlib.import_module("drivers.loading").load

        server: Any = None

        async def serve() -> None:
            nonlocal server
            try:
                async with trio.open_nursery() as nursery:
                    server = make_server(driver, load, nursery, driver=load(driver))
                    await run(Duplex(Peer(DRIVER_LIMITS, Hello()), theirs, server, trio.Event))
                    with trio.CancelScope(shield=True):
                        await server.close()
                    nursery.cancel_scope.cancel()
            finally:  # as the system does for a process that was killed
                theirs.send_stream.close()
                theirs.receive_stream.close()

        def counted() -> tuple[int, int]:
            told: tuple[int, int] = (0, 0) if server is None else server.tally.counted()
            return told

        task = Task(ours, counted)
        self.running.append(task)
        self.counts.append(counted)
        return _start(self._nursery, task, serve)


def _start(nursery: trio.Nursery, task: Task, body: Callable[[], Any]) -> Task:
    async def live() -> None:
        try:
            with task.scope:
                await body()
        finally:
            task.ended.set()

    nursery.start_soon(live)
    return task

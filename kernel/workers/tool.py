"""Tools: plugins in sandboxed workers of their own, started when first called, and again when they died."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, Final, cast, final

import trio
from msgspec import Raw

from kernel.clock import Clock
from kernel.config import Bounds, ToolConfig
from kernel.link import Entrance
from kernel.packages import Package
from kernel.panic import contain, first
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.workers.launch import Launcher, LaunchRequest, folders_of
from kernel.workers.worker import WorkerHost
from syscalls import worker as abi
from syscalls.calls.process import Exit
from syscalls.errors import BrokenPipe, IOFailed, NotFound, OutcomeUnknown, SyscallError, TryAgain
from syscalls.link.duplex import Duplex
from syscalls.link.ticket import Stream
from syscalls.rights import parse_rights
from syscalls.turns import ToolSpec

AHEAD_ITEMS: Final = 4
STILLBORN_MAX: Final = 3
RETRY_S: Final = 5.0

Lend = Callable[[Process], AbstractContextManager[int]]


@contextmanager
def own_channel(process: Process) -> Iterator[int]:
    """Nothing is lent: the tool's calls are on the channel of its process."""
    yield process.pid


@final
class Tool:
    """One plugin that serves tools. It runs as a process of its own, with its own rights, never its caller's. One of an
    installed `package` imports from that, and is held to its limits."""

    def __init__(
        self,
        name: str,
        config: ToolConfig,
        *,
        bounds: Bounds,
        clock: Clock,
        launcher: Launcher,
        package: Package | None = None,
    ) -> None:
        self.name = name
        self._package = package
        self.program = config.program
        self.restarts = 0
        self.busy = 0
        self.methods: tuple[ToolSpec, ...] = ()
        self.streaming: tuple[str, ...] = ()
        self.failure: SyscallError | None = None
        self.process: Process | None = None
        self._rights = parse_rights(config.rights)
        self._bounds = bounds
        self._clock = clock
        self._launcher = launcher
        self._packages = (package.site,) if package is not None else ()
        self._wire: Duplex | None = None
        self._wanted = trio.Event()
        self._news = trio.Event()

    @property
    def state(self) -> str:
        if self.failure is not None:
            return "failed"
        return "ready" if self._wire is not None else "starting" if self._wanted.is_set() else "idle"

    def retire(self) -> None:
        """There will be no worker any more: whoever waits for one is told."""
        self.failure = NotFound(f"tool {self.name} was taken away, or is another now")
        self._tell()

    async def describe(self) -> None:
        """Waits until it has said what it serves. Raises why it cannot."""
        await self._ready()

    async def call(self, method: str, arguments: Raw, lend: Lend = own_channel) -> Raw:
        """Calls `method`; `lend` gives the channel of the tool's own calls meanwhile. Raises NotFound for an unknown
        one, what the tool raised, or OutcomeUnknown (EUNKNOWN) when its worker died under the call: a tool's effects
        are not known to be repeatable."""
        async with self._under_way(method) as (wire, process):
            with lend(process) as channel:
                args = abi.Invoke(method=method, arguments=arguments, pid=process.pid, channel=channel)
                returned: abi.Returned = await wire.call(abi.INVOKE, args)
            return returned.value
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def stream(self, method: str, arguments: Raw, lend: Lend = own_channel) -> AsyncIterator[Stream]:
        """As `call`, what the tool yields one by one. It runs ahead of who takes the items by AHEAD_ITEMS at most;
        leaving the block cancels it."""
        async with self._under_way(method) as (wire, process):
            with lend(process) as channel:
                args = abi.Invoke(method=method, arguments=arguments, pid=process.pid, channel=channel)
                async with wire.stream(abi.STREAM, args, credit=AHEAD_ITEMS) as stream:
                    yield stream

    @asynccontextmanager
    async def _under_way(self, method: str) -> AsyncIterator[tuple[Duplex, Process]]:
        wire = await self._ready()
        if method not in {spec.name for spec in self.methods}:
            known = ", ".join(spec.name for spec in self.methods) or "none"
            raise NotFound(f"tool {self.name} has no method {method!r}; it has: {known}")
        assert self.process is not None, "what is ready is a process"
        self.busy += 1
        try:
            yield wire, self.process
        except BrokenPipe:
            if wire.peer.closed is None:
                raise
            raise OutcomeUnknown(f"the worker of tool {self.name} died while it ran {method}") from None
        finally:
            self.busy -= 1

    async def run(self, *, gate: Entrance, processes: ProcessTable, parent: Process) -> None:
        """Supervises: a worker whenever one is wanted. One that cannot be is tried again for a call that comes
        RETRY_S later."""
        stillborn = 0
        while True:
            await self._wanted.wait()
            failed = await self._one(gate, processes, parent)
            stillborn = 0 if self._wire is not None else stillborn + 1
            self._wire = None
            if failed is None and stillborn >= STILLBORN_MAX:
                failed = IOFailed(f"tool {self.name}: {stillborn} workers in a row died at the start")
            self.failure = failed
            self._wanted = trio.Event()
            self._tell()
            self.restarts += 1
            if failed is not None:
                stillborn = 0
                await trio.sleep(RETRY_S)
                self.failure = None

    async def _one(self, gate: Entrance, processes: ProcessTable, parent: Process) -> SyscallError | None:
        """One worker from birth to death; why there cannot be one, or None."""
        failed: SyscallError | None = None
        try:
            self.process = process = processes.add(
                parent=parent, principal=parent.principal, kind="tool", name=self.name, account=parent.account,
                rights=self._rights, package=self._package.name if self._package is not None else "",
                limits=self._package.limited(parent.limits) if self._package is not None else None,
            )  # fmt: skip
        except SyscallError as full:
            return full
        try:
            await self._live(process, gate)
        except* BrokenPipe:
            pass  # it died before it had said what it serves
        except* SyscallError as group:
            failed = cast(SyscallError, first(group))
        except* Exception as group:
            failed = IOFailed(f"the kernel failed in tool {self.name}: {contain(group)}")
        finally:
            status = "worker_lost" if failed is None else "failed"
            processes.ended(process, Exit(pid=process.pid, status=status, error=str(failed or "")))
        return failed

    async def _live(self, process: Process, gate: Entrance) -> None:
        folders = (*folders_of(self._rights), *self._packages)
        process.tier = self._package.record.manifest.tier if self._package is not None else "pure"
        request = LaunchRequest(
            pid=process.pid, name=self.name, folders=folders, limits=process.limits, tier=process.tier
        )
        launched = await self._launcher.launch(request)
        worker = WorkerHost(process, launched, gate, bounds=self._bounds, clock=self._clock)
        await worker.serve(self._serve)

    async def _serve(self, wire: Duplex) -> None:
        described: abi.Described = await wire.call(
            abi.DESCRIBE, abi.Describe(program=self.program, packages=self._packages)
        )
        self.methods, self.streaming = described.methods, described.streaming
        self._wire = wire
        self._tell()
        await wire.ended()

    async def _ready(self) -> Duplex:
        with trio.move_on_after(self._bounds.worker_ready_s):
            while self._wire is None or self._wire.peer.closed is not None:
                if self.failure is not None:
                    raise self.failure
                self._wanted.set()
                await self._news.wait()
            return self._wire
        raise TryAgain(f"tool {self.name} did not come up in {self._bounds.worker_ready_s:g} s")

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()


def as_text(value: Any) -> str:
    """What a model reads of a tool's answer."""
    return value if isinstance(value, str) else repr(value) if not isinstance(value, bool) else str(value).lower()

"""Tools: plugins in sandboxed workers of their own, started when first called, and again when they died."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, NamedTuple, cast, final

import trio
from msgspec import Raw

from kernel.clock import Clock
from kernel.config import Bounds, ToolConfig
from kernel.link import Entrance
from kernel.packages import Package
from kernel.panic import contain, first
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.workers.launch import Launcher
from kernel.workers.lone import Birth, Home, Seats, Use, in_own_worker
from syscalls import worker as abi
from syscalls.calls.process import Exit
from syscalls.errors import BrokenPipe, IOFailed, NotFound, OutcomeUnknown, OverLimit, SyscallError, TryAgain
from syscalls.link.duplex import Duplex
from syscalls.rights import parse_rights
from syscalls.turns import ToolSpec
from syscalls.worker_limits import CallLimits, least, show_limit

AHEAD_ITEMS: Final = 4
STILLBORN_MAX: Final = 3
RETRY_S: Final = 5.0

Lend = Callable[[Process], AbstractContextManager[int]]
Take = Callable[[bytes], Awaitable[None]]


@final
class Answered(NamedTuple):
    """What a tool returned, and the pid of the OS process that it did it in."""

    value: Raw
    worker: int


@contextmanager
def own_channel(process: Process) -> Iterator[int]:
    """Nothing is lent: the tool's calls are on the channel of its process."""
    yield process.pid


@final
class Tool:
    """One plugin that serves tools. It runs as a process of its own, with its own rights, never its caller's. One of an
    installed `package` imports from that, and is held to its limits. Each call is held to `limits` besides; a call that
    can only be kept to them in a worker of its own gets one, which knows nothing of the calls before it."""

    def __init__(
        self,
        name: str,
        config: ToolConfig,
        *,
        bounds: Bounds,
        clock: Clock,
        launcher: Launcher,
        seats: Seats,
        package: Package | None = None,
        limits: CallLimits | None = None,
    ) -> None:
        self.name = name
        self._limits = limits
        self._seats = seats
        self._alone: set[trio.CancelScope] = set()
        self._home: Home | None = None
        self._settled = trio.Event()
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
        self._wire: Duplex | None = None
        self._wanted = trio.Event()
        self._news = trio.Event()

    @property
    def state(self) -> str:
        if self.failure is not None:
            return "failed"
        return "ready" if self._wire is not None else "starting" if self._wanted.is_set() else "idle"

    def retire(self) -> None:
        """There will be no worker any more: whoever waits for one is told, and calls in workers of their own end, for
        they run with rights that may be gone."""
        self.failure = NotFound(f"tool {self.name} was taken away, or is another now")
        for scope in self._alone:
            scope.cancel()
        self._tell()

    async def describe(self) -> None:
        """Waits until it has said what it serves. Raises why it cannot."""
        await self._ready()

    async def call(
        self, caller: Process, method: str, arguments: Raw, lend: Lend = own_channel, limits: CallLimits | None = None
    ) -> Answered:
        """Calls `method` for `caller`; `lend` gives the channel of the tool's own calls meanwhile. Raises NotFound for
        an unknown one, what the tool raised, OverLimit (ELIMIT) for what ran over `limits` or the tool's own, or
        OutcomeUnknown (EUNKNOWN) when its worker died under the call: a tool's effects are not known to be repeatable.
        """
        answered: Answered | None = None
        bounds = least(self._limits, limits)

        async def invoke(wire: Duplex, process: Process) -> None:
            nonlocal answered
            with lend(process) as channel:
                args = abi.Invoke(method=method, arguments=arguments, pid=process.pid, channel=channel)
                returned: abi.Returned = await wire.call(abi.INVOKE, args)
            self._measure(method, bounds, len(bytes(returned.value)))
            answered = Answered(returned.value, process.worker_pid)

        await self._bounded(caller, method, bounds, invoke)
        assert answered is not None, "what did not raise has answered"
        return answered

    async def stream(
        self,
        caller: Process,
        method: str,
        arguments: Raw,
        take: Take,
        lend: Lend = own_channel,
        limits: CallLimits | None = None,
    ) -> None:
        """As `call`, what the tool yields one by one into `take`. It runs ahead of that by AHEAD_ITEMS at most."""
        bounds = least(self._limits, limits)

        async def pour(wire: Duplex, process: Process) -> None:
            size = 0
            with lend(process) as channel:
                args = abi.Invoke(method=method, arguments=arguments, pid=process.pid, channel=channel)
                async with wire.stream(abi.STREAM, args, credit=AHEAD_ITEMS) as stream:
                    async for each in stream:
                        size += len(bytes(each.value))
                        self._measure(method, bounds, size)
                        await take(bytes(each.value))

        await self._bounded(caller, method, bounds, pour)

    async def _bounded(self, caller: Process, method: str, bounds: CallLimits, use: Use) -> None:
        """The call in the worker that all share, or in one of its own where only that can be ended for it."""
        if not bounds.alone:
            async with self._under_way(method) as (wire, process):
                await use(wire, process)
            return
        if self.failure is not None:
            raise self.failure
        self.busy += 1
        begun, scope = False, trio.CancelScope()
        self._alone.add(scope)
        try:
            with scope:
                await self._settled.wait()
                assert self._home is not None, "who has settled has a home"
                async with self._seats.of(caller):
                    begun = True
                    what = f"{self.name}.{method}"
                    await in_own_worker(self._home, self._birth(), what, bounds, partial(self._known, method, use))
        finally:
            self.busy -= 1
            self._alone.discard(scope)
        if scope.cancelled_caught:
            if not begun and self.failure is not None:
                raise self.failure
            raise OutcomeUnknown(f"tool {self.name} was taken away, or is another now, while it ran {method}")

    async def _known(self, method: str, use: Use, wire: Duplex, process: Process) -> None:
        """The first and only call of a worker of its own."""
        self._check(method, await self._described(wire))
        await use(wire, process)

    def _check(self, method: str, methods: tuple[ToolSpec, ...]) -> None:
        if method not in {spec.name for spec in methods}:
            known = ", ".join(spec.name for spec in methods) or "none"
            raise NotFound(f"tool {self.name} has no method {method!r}; it has: {known}")

    def _measure(self, method: str, bounds: CallLimits, size: int) -> None:
        if bounds.answer_bytes is not None and size > bounds.answer_bytes:
            raise OverLimit(f"{self.name}.{method} was ended: {show_limit('answer_bytes', bounds.answer_bytes)}")

    @asynccontextmanager
    async def _under_way(self, method: str) -> AsyncIterator[tuple[Duplex, Process]]:
        wire = await self._ready()
        self._check(method, self.methods)
        process = self.process
        assert process is not None, "what is ready is a process"
        self.busy += 1
        try:
            yield wire, process
        except BrokenPipe:
            if wire.peer.closed is None:
                raise
            if process.over:
                raise OverLimit(f"the worker of tool {self.name} was ended: {process.over}") from None
            raise OutcomeUnknown(f"the worker of tool {self.name} died while it ran {method}") from None
        finally:
            self.busy -= 1

    async def run(self, *, gate: Entrance, processes: ProcessTable, parent: Process) -> None:
        """Supervises: a worker whenever one is wanted. One that cannot be is tried again for a call that comes
        RETRY_S later."""
        self._home = Home(gate, processes, parent, self._launcher, self._bounds, self._clock)
        self._settled.set()
        stillborn = 0
        while True:
            await self._wanted.wait()
            failed = await self._one(self._home)
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

    async def _one(self, home: Home) -> SyscallError | None:
        """One worker from birth to death; why there cannot be one, or None."""
        failed: SyscallError | None = None
        birth = self._birth()
        try:
            self.process = process = home.born(birth)
        except SyscallError as full:
            return full
        try:
            await (await home.worker(process, birth)).serve(self._serve)
        except* BrokenPipe:
            pass  # it died before it had said what it serves
        except* SyscallError as group:
            failed = cast(SyscallError, first(group))
        except* Exception as group:
            failed = IOFailed(f"the kernel failed in tool {self.name}: {contain(group)}")
        finally:
            status = "over_limit" if process.over else "worker_lost" if failed is None else "failed"
            home.processes.ended(process, Exit(pid=process.pid, status=status, error=str(failed or process.over)))
        return failed

    def _birth(self) -> Birth:
        return Birth(self.name, self._rights, self._package)

    async def _described(self, wire: Duplex) -> tuple[ToolSpec, ...]:
        packages = (self._package.site,) if self._package is not None else ()
        described: abi.Described = await wire.call(abi.DESCRIBE, abi.Describe(program=self.program, packages=packages))
        self.methods, self.streaming = described.methods, described.streaming
        return described.methods

    async def _serve(self, wire: Duplex) -> None:
        await self._described(wire)
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

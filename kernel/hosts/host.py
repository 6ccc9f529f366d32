"""A driver host: the OS process that serves one device, started, watched, and started again when it dies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, final

import trio
from msgspec import Raw

from kernel.config import Bounds
from kernel.hosts.host_books import HostBooks
from kernel.hosts.host_process import StartHost
from kernel.loop import TRIO
from kernel.watch.trace import Trace
from syscalls import driver
from syscalls.codec import parse_answer
from syscalls.errors import BrokenPipe, Busy, Canceled, IOFailed, SyscallError, TryAgain
from syscalls.limits import DRIVER_LIMITS
from syscalls.link.duplex import Duplex, NoServer
from syscalls.link.transport import Transport
from syscalls.peer import Peer
from syscalls.row import Flag, Row
from syscalls.wire import Hello

HostState = Literal["idle", "starting", "ready", "restarting", "failed"]

_BACKOFF_S = 0.05
_BACKOFF_MAX_S = 2.0
_RETRY_S = 5.0
REISSUES_MAX = 24
_CREDIT = 1 << 20


@final
class Host:
    """One device in an OS process of its own. `run` is its supervisor; everything else waits for it to be ready.

    A call that the host's death interrupts is issued again where its row is idempotent; the caller only sees the time
    pass, until `host_ready_s` have gone by without a host.
    """

    def __init__(
        self,
        name: str,
        driver_name: str,
        args: driver.Open,
        *,
        bounds: Bounds,
        trace: Trace,
        logs: Path,
        start: StartHost,
        books: HostBooks,
    ) -> None:
        self.name = name
        self.driver = driver_name
        self.args = args
        self.state: HostState = "idle"
        self.opened: driver.Opened | None = None
        self.failure: SyscallError | None = None
        self.pid = 0
        self.restarts = 0
        self.busy = 0
        self._bounds = bounds
        self._trace = trace
        self._logs = logs
        self._start = start
        self.books = books
        self._wire: Duplex | None = None
        self._complaint: SyscallError | None = None
        self._wanted = trio.Event()
        self._news = trio.Event()
        self._on_restart: list[Callable[[], None]] = []
        self._leaving = False
        self._cut: Duplex | None = None
        self._life_scope = trio.CancelScope()

    def on_restart(self, callback: Callable[[], None]) -> None:
        """Calls back each time a new host stands in for one that died."""
        self._on_restart.append(callback)

    def want(self) -> None:
        """Somebody needs it: start it. One that failed is tried again for who comes _RETRY_S later."""
        if not self._wanted.is_set():
            self.failure = None
            self._wanted.set()

    async def ready(self) -> driver.Opened:
        """Waits until the device is open. Raises why it cannot be, or TryAgain (EAGAIN) after `host_ready_s`."""
        self.want()
        with trio.move_on_after(self._bounds.host_ready_s):
            while self.state != "ready" or self._leaving:
                if self.failure is not None:
                    raise self.failure
                await self._news.wait()
                if self.state == "idle":  # it was unloaded meanwhile
                    self.want()
            assert self.opened is not None
            return self.opened
        raise TryAgain(f"device {self.name} did not come up in {self._bounds.host_ready_s:g} s: see {self._log_file}")

    async def unload(self, *, timeout_s: float, force: bool) -> None:
        """Ends the host until somebody needs it again. Waits up to `timeout_s` for the calls under way; those that come
        meanwhile wait until it is gone. With `force` what is left then fails with ECANCELED.

        Raises Busy (EBUSY), and the host stays, if calls are left without `force`, or another unload is under way."""
        if self._leaving:
            raise Busy(f"{self.name} is being unloaded already")
        if self.state in ("idle", "failed"):
            return
        self._leaving = True
        try:
            with trio.move_on_after(timeout_s):
                while self.busy:
                    await self._news.wait()
            if self.busy and not force:
                raise Busy(
                    f"{self.busy} calls are under way on {self.name}: wait for them (timeout_s), or end them (force)"
                )
            self._cut = self._wire
            self._life_scope.cancel()
            while self._leaving and self.state != "idle":
                await self._news.wait()
        finally:
            self._leaving = False
            self._tell()

    async def call(self, row: Row, make_args: Callable[[int], Any]) -> Any:
        """Calls the driver; `make_args` is given the device's handle. Issued again after the host's death if `row`
        allows."""
        for _ in range(REISSUES_MAX):
            opened = await self.ready()
            wire = self._wire
            assert wire is not None
            try:
                with self._under_way():
                    return await wire.call(row, make_args(opened.device))
            except BrokenPipe as broken:
                self._own_words(wire, broken)
                await self._gone(wire)
                if Flag.IDEMPOTENT not in row.flags:
                    raise
        raise IOFailed(f"{REISSUES_MAX} hosts of {self.name} died under this call: see {self._log_file}")

    async def pour(self, row: Row, make_args: Callable[[int], Any], sink: Callable[[Any], None]) -> Any:
        """A streaming call: typed items go into `sink` as they come; see HostedModel for how one is resumed.

        Raises BrokenPipe (EPIPE) when the host died under it, once the supervisor knows of it."""
        opened = await self.ready()
        wire = self._wire
        assert wire is not None

        def typed(items: list[Raw]) -> None:
            for item in items:
                sink(parse_answer(row.item, item, name=row.name))

        try:
            with self._under_way():
                return await wire.pour(row, make_args(opened.device), typed, credit=_CREDIT)
        except BrokenPipe as broken:
            self._own_words(wire, broken)
            await self._gone(wire)
            raise

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        """A call that an unload waits for."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            if self._leaving:
                self._tell()

    async def run(self) -> None:
        """Supervises: starts the host when it is wanted, again when it dies. Gives up, for a while, when the driver
        refuses to open or `host_restarts_max` hosts in a row died before they were ready."""
        while True:
            await self._wanted.wait()
            self._set("starting")
            with trio.CancelScope() as self._life_scope:
                await self._keep_up()
            if self._life_scope.cancelled_caught:
                self._rest()
            else:
                await trio.sleep(_RETRY_S)  # meanwhile everybody is told the same
                self._wanted = trio.Event()

    def _rest(self) -> None:
        """It was unloaded: as if it had never been needed."""
        self._wanted = trio.Event()
        self.failure = None
        self.pid = 0
        self._leaving = False
        self._trace.event("host_unloaded", device=self.name)
        self._set("idle")

    async def _keep_up(self) -> None:
        """Hosts one after another, until there cannot be one."""
        stillborn = 0
        self._complaint = None
        while True:
            try:
                stillborn = 0 if await self._life() else stillborn + 1
            except SyscallError as refused:
                self._fail(refused)
                return
            self.restarts += 1
            if stillborn >= self._bounds.host_restarts_max:
                died = f"device {self.name}: {stillborn} hosts in a row died at the start: see {self._log_file}"
                self._fail(self._complaint or IOFailed(died))
                return
            self._set("restarting")
            if stillborn:
                await trio.sleep(min(_BACKOFF_S * 2**stillborn, _BACKOFF_MAX_S))

    async def _life(self) -> bool:
        """One host from start to death; whether it was ever ready. Raises SyscallError if the driver refuses to
        open."""
        try:
            process = await self._start(self.driver, self._log_file)
        except IOFailed as failed:
            self._trace.event("host_lost", device=self.name, host=0, status=failed)
            self._complaint = failed
            return False
        self.pid = process.pid
        self.books.take(process.counted)
        was_ready = False
        try:
            await self._serve(process.transport)
        finally:
            was_ready, self._wire = self._wire is not None, None
            self._set("restarting")  # before anything that waits: a device without a wire is not ready
            status = await process.end()
            self.books.balance()
            self._trace.event("host_lost", device=self.name, host=process.pid, status=status)
        return was_ready

    async def _serve(self, transport: Transport) -> None:
        wire = Duplex(Peer(DRIVER_LIMITS, Hello()), transport, NoServer(), trio.Event)
        refused: SyscallError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run, wire, nursery.cancel_scope)
            try:
                with trio.move_on_after(self._bounds.host_ready_s) as patience:
                    await wire.greeted()
                if patience.cancelled_caught:
                    raise BrokenPipe(f"the host of {self.name} said nothing for {self._bounds.host_ready_s:g} s")
                self.opened = await wire.call(driver.OPEN, self.args)
                self._wire = wire
                self._set("ready")
                self._trace.event("host_ready", device=self.name, host=self.pid, restarts=self.restarts)
                if self.restarts:
                    for callback in self._on_restart:
                        callback()
                await trio.sleep_forever()
            except SyscallError as error:
                died = isinstance(error, BrokenPipe) and (wire.peer.closed is not None or wire.peer.remote is None)
                refused = None if died else error
            nursery.cancel_scope.cancel()
        if refused is not None:
            raise refused

    def _own_words(self, wire: Duplex, error: BrokenPipe) -> None:
        """An EPIPE that came over a live link is the driver's own, no death of its host; one over a link that an unload
        cut is no accident."""
        if wire is self._cut:
            raise Canceled(f"{self.name} was unloaded by force under this call") from None
        if wire.peer.closed is None:
            raise IOFailed(f"device {self.name}: {error.message}") from None

    async def _gone(self, wire: Duplex) -> None:
        """A call on `wire` has failed with EPIPE: waits until the supervisor has seen the death, so that `ready`
        tells the truth."""
        while self._wire is wire:
            await self._news.wait()

    def _fail(self, why: SyscallError) -> None:
        self.failure = why
        self._set("failed")
        self._trace.event("host_failed", device=self.name, error=why)

    def _set(self, state: HostState) -> None:
        self.state = state
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    @property
    def _log_file(self) -> Path:
        return self._logs / f"host-{self.name.replace('/', '_')}.log"


async def _run(wire: Duplex, scope: trio.CancelScope) -> None:
    """The link until it ends; then everything that waits on it fails with EPIPE."""
    try:
        await wire.run(TRIO, "the host is gone")
    finally:
        scope.cancel()

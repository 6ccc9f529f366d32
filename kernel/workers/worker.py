"""A worker while it lives: its link, the process it hosts, and the order in which both end."""

import signal as os_signals
from collections.abc import Awaitable, Callable
from typing import final

import trio
from msgspec.structs import replace

from kernel.clock import Clock
from kernel.config import Bounds
from kernel.link import Entrance, KernelLink
from kernel.process import LENT_CHANNEL, LOG_PIECE_CHARS_MAX, Process
from kernel.workers.launch import Launched
from kernel.workers.limit import Outflow
from syscalls.calls.process import LogLine
from syscalls.errors import BrokenPipe, IOFailed
from syscalls.link.duplex import Duplex
from syscalls.signals import CATCHABLE, Signal
from syscalls.wire import Hello
from syscalls.worker_limits import show_limit


@final
class WorkerHost:
    """One worker and its one process, on channel `pid`. `serve` returns when the OS process is gone and reaped."""

    def __init__(self, process: Process, launched: Launched, gate: Entrance, *, bounds: Bounds, clock: Clock) -> None:
        self._process = process
        self._launched = launched
        self._bounds = bounds
        self._clock = clock
        self._link = KernelLink(launched.transport, gate, self, hello=Hello(info={"pid": str(process.pid)}))
        self.over = ""
        process.worker_pid = launched.pid
        process.host = self

    @property
    def wire(self) -> Duplex:
        """For the calls that the kernel makes to the worker."""
        return self._link.wire

    def process_on(self, channel: int) -> Process | None:
        process = self._process
        own = channel == process.pid or LENT_CHANNEL <= channel < process.lent_next
        return process if own and process.exit is None else None

    def deliver(self, number: Signal) -> None:
        """Hands on a signal. KILL, STOP and CONT are the machine's own; the rest are events for the program."""
        if number is Signal.KILL:
            self._launched.signal(os_signals.SIGKILL)
        elif number is Signal.STOP:
            self._launched.signal(os_signals.SIGSTOP)
        elif number is Signal.CONT:
            self._launched.signal(os_signals.SIGCONT)
        elif number in CATCHABLE:
            self.wire.event(self._process.pid, number.name)

    async def serve(self, work: Callable[[Duplex], Awaitable[None]]) -> None:
        """Runs the link and, once the worker has said HELLO, `work` on it; then the worker is killed and reaped,
        whatever it is at.

        Raises IOFailed when it says nothing in time. A worker that dies before it said HELLO never gets any work."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._launched.drain, self._print)
                nursery.start_soon(self._run_link)
                if await self._greeted():
                    await work(self.wire)
                nursery.cancel_scope.cancel()
        finally:
            self._launched.signal(os_signals.SIGKILL)
            with trio.CancelScope(shield=True):
                await self._launched.wait()
                self.over = self._launched.over
                await self._launched.aclose()

    async def _run_link(self) -> None:
        await self._link.run(handshake_s=self._bounds.worker_ready_s)

    async def _greeted(self) -> bool:
        with trio.move_on_after(self._bounds.worker_ready_s):
            try:
                await self.wire.greeted()
            except BrokenPipe:
                return False
            return True
        raise IOFailed(f"the worker said nothing for {self._bounds.worker_ready_s:g} s")

    def _print(self, text: str) -> None:
        write_log(self._process, LogLine(at_s=self._clock.now(), pid=self._process.pid, stream="stderr", text=text))


def write_log(process: Process, line: LogLine) -> None:
    """Adds to what `process` printed, in pieces that fit a frame, and wakes whoever follows it; the oldest is dropped
    beyond LOG_CHARS_MAX. One that prints faster than its limit is ended for it."""
    rate = process.limits.output_bytes_s
    if rate is not None and process.limiter is not None:
        if process.outflow is None:
            process.outflow = Outflow(rate)
        if not process.outflow.take(len(line.text), line.at_s):
            process.limiter.over(process, show_limit("output_bytes_s", rate))
            return
    for at in range(0, max(len(line.text), 1), LOG_PIECE_CHARS_MAX):
        process.keep_line(replace(line, text=line.text[at : at + LOG_PIECE_CHARS_MAX]))
    process.log_changed.ring()

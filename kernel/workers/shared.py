"""A worker that hosts many processes: equal in program, principal, account above, rights and packages, and the program
asked for it. Inside there is no wall: what one of them may do, all may.

None of them has a task in the kernel: a process that is hosted here and waits is a record, and the calls that it has
open. Its worker's task serves them all, and ends when nobody has lived there for a while.

TERM cancels the scope of one process. One that does not end in the grace time costs the worker its life, and its other
processes exit with WORKER_LOST. KILL is no signal of the machine here: the process is dead at once, as everybody sees
it, its calls are cancelled, and its code has the grace time to be gone. STOP holds a process at its next call.
"""

import signal as os_signals
from collections.abc import Callable
from typing import final

import trio

from kernel.clock import Clock
from kernel.config import Bounds
from kernel.link import Entrance, KernelLink
from kernel.outcome import failure, lost
from kernel.panic import contain
from kernel.process import Process
from kernel.workers.launch import Launched, Launcher, LaunchRequest
from kernel.workers.worker import write_log
from syscalls import worker as abi
from syscalls.calls.process import Exit, LogLine
from syscalls.codec import parse_answer
from syscalls.errors import BrokenPipe, Errno, IOFailed, SyscallError, syscall_error
from syscalls.link.ticket import Answer
from syscalls.rights import Right
from syscalls.signals import CATCHABLE, Signal
from syscalls.wire import Error, Hello

DYING_S_MAX = 0.5
LINGER_S = 1.0
"""So long an empty worker waits for the next process."""
Ended = Callable[[Process, Exit], None]


@final
class Seat:
    """One process in its worker: what stands as its host, and what is cancelled to end it."""

    __slots__ = ("_call_id", "_worker", "process", "run")

    def __init__(self, worker: "SharedWorker", process: Process, run: abi.Run) -> None:
        self._worker = worker
        self._call_id = 0
        self.process = process
        self.run: abi.Run | None = run

    def begin(self) -> None:
        """The worker is there: the program starts."""
        assert self.run is not None
        request, self.run = self.run, None
        try:
            self._call_id = self._worker.link.wire.ask(abi.RUN, request, self._answered)
        except SyscallError as refused:
            broken = self._worker.link.wire.peer.closed is not None
            self._worker.gone(self, lost(self.process) if broken else failure(self.process, refused))
            return
        if self.process.ending is not None:
            self.cancel("TERM")

    def deliver(self, number: Signal) -> None:
        """Hands on a signal that a program can see; STOP and CONT hold calls only, for others run beside it."""
        if number in CATCHABLE and self.run is None:
            self._worker.link.wire.event(self.process.pid, number.name)

    def cancel(self, reason: str) -> None:
        """Asks the program to end. One that has not begun has ended."""
        if self.run is None:
            self._worker.link.wire.cancel(self._call_id, reason)
        else:
            self._worker.gone(self, lost(self.process))

    def drop(self) -> None:
        """The process is dead: what it is at in the kernel is cancelled now."""
        if self.run is None:
            self._worker.link.cancel_channel(self.process.pid)

    def lose_worker(self) -> None:
        """It would not end: its worker must."""
        self._worker.lose()

    async def left(self) -> None:
        """Waits until nothing of it runs in the worker any more."""
        await self._worker.without(self)

    def _answered(self, answer: Answer) -> None:
        broken = self._worker.link.wire.peer.closed is not None
        if broken and isinstance(answer, Error) and answer.errno == Errno.EPIPE:
            return  # the worker is gone: how it ended is soon known, and the end of all who lived there
        self._worker.gone(self, _exit_of(self.process, answer))


@final
class SharedWorker:
    """`run` is its life; `take` gives it a process, `ended` is called back for each that has ended, once."""

    def __init__(
        self,
        request: LaunchRequest,
        *,
        launcher: Launcher,
        gate: Entrance,
        bounds: Bounds,
        clock: Clock,
        ended: Ended,
    ) -> None:
        self._request = request
        self._launcher = launcher
        self._gate = gate
        self._bounds = bounds
        self._clock = clock
        self._ended = ended
        self._seats: dict[int, Seat] = {}
        self._scope = trio.CancelScope()
        self._link: KernelLink | None = None
        self._pid = 0
        self._ready = False
        self._mixed = False
        self._stamp = (-1, -1)
        self._closing = False
        self._changed = trio.Event()

    @property
    def link(self) -> KernelLink:
        """Its link, once the worker has been made."""
        assert self._link is not None, "no process begins before its worker is ready"
        return self._link

    @property
    def has_room(self) -> bool:
        """Whether it takes another process."""
        return not self._closing and not self._mixed and len(self._seats) < self._bounds.shared_processes_max

    def holds_still(self, rights: tuple[Right, ...], stamp: tuple[int, int]) -> bool:
        """Whether all who live here hold just `rights`: one that was given more, or lost some, is no equal of a
        newcomer. `stamp` changes whenever that may have happened to anybody."""
        if stamp != self._stamp:
            if any(seat.process.rights != rights for seat in self._seats.values()):
                self._mixed = True
                return False
            self._stamp = stamp
        return True

    def take(self, process: Process, run: abi.Run) -> Seat:
        """Hosts `process`, now or as soon as the worker is ready."""
        assert self.has_room
        seat = self._seats[process.pid] = Seat(self, process, run)
        process.worker_pid = self._pid
        process.host = seat
        if self._ready:
            seat.begin()
        if len(self._seats) == 1:
            self._tell()  # it was empty, and about to end
        return seat

    def process_on(self, channel: int) -> Process | None:
        seat = self._seats.get(channel)
        return seat.process if seat is not None else None

    def gone(self, seat: Seat, outcome: Exit) -> None:
        """The program of `seat` has ended in the worker."""
        if self._seats.pop(seat.process.pid, None) is not None:
            self._ended(seat.process, outcome)
            self._tell()

    async def without(self, seat: Seat) -> None:
        """Waits until `seat` is not here any more."""
        while self._seats.get(seat.process.pid) is seat:
            await self._changed.wait()

    def lose(self) -> None:
        """Ends the worker, and with it all that it hosts."""
        self._closing = True
        self._scope.cancel()

    async def run(self) -> None:
        """From the worker's birth to its end. Raises nothing for what it, or its making, came to."""
        why: SyscallError | None = None
        try:
            with self._scope:
                await self._live(await self._launcher.launch(self._request))
        except* SyscallError as failed:
            why = next(error for error in _leaves(failed) if isinstance(error, SyscallError))
        except* Exception as bug:
            why = IOFailed(f"the kernel failed in a shared worker: {contain(bug)}")
        finally:
            self._closing = True
            for seat in tuple(self._seats.values()):
                self.gone(seat, lost(seat.process) if why is None else failure(seat.process, why))

    async def _live(self, launched: Launched) -> None:
        self._pid = launched.pid
        self._link = KernelLink(launched.transport, self._gate, self, hello=Hello(info={"pid": "0"}))
        for seat in self._seats.values():
            seat.process.worker_pid = launched.pid
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(launched.drain, self._print)
                nursery.start_soon(self._serve, nursery.cancel_scope)
                await self._greeted()
                self._ready = True
                for seat in tuple(self._seats.values()):
                    seat.begin()
                await self._until_empty()
                nursery.cancel_scope.cancel()
        finally:
            self._closing = True
            launched.signal(os_signals.SIGKILL)
            with trio.CancelScope(shield=True):
                await self._reap(launched)
                await launched.aclose()

    async def _reap(self, launched: Launched) -> None:
        """Waits for its end; who lived there need not wait longer than it takes to see why it came."""
        with trio.move_on_after(DYING_S_MAX):
            await launched.wait()
            for seat in tuple(self._seats.values()) if launched.over else ():
                seat.process.limiter.over(seat.process, launched.over)
            return
        for seat in tuple(self._seats.values()):
            self.gone(seat, lost(seat.process))
        await launched.wait()

    async def _serve(self, scope: trio.CancelScope) -> None:
        await self.link.run(handshake_s=self._bounds.worker_ready_s)
        scope.cancel()

    async def _greeted(self) -> None:
        with trio.move_on_after(self._bounds.worker_ready_s):
            try:
                await self.link.wire.greeted()
            except BrokenPipe:
                await trio.sleep_forever()  # its link has ended, and ends this
            return
        raise IOFailed(f"the worker said nothing for {self._bounds.worker_ready_s:g} s")

    async def _until_empty(self) -> None:
        """Returns once nobody has lived here for LINGER_S."""
        while not self._closing:
            while self._seats:
                await self._changed.wait()
            with trio.move_on_after(LINGER_S):
                await self._changed.wait()
            self._closing = not self._seats

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _print(self, text: str) -> None:
        """What is written past the programs' own streams: it belongs to whoever has lived here longest."""
        for seat in self._seats.values():
            line = LogLine(at_s=self._clock.now(), pid=seat.process.pid, stream="stderr", text=text)
            write_log(seat.process, line)
            return


def _exit_of(process: Process, answer: Answer) -> Exit:
    """How a program ended, by what the worker answered."""
    if isinstance(answer, Error):
        return failure(process, syscall_error(answer.errno, answer.message))
    try:
        returned: abi.Returned = parse_answer(abi.Returned, answer.result, name="worker.run")
    except SyscallError as nonsense:
        return failure(process, nonsense)
    return Exit(pid=process.pid, status="done", value=returned.value.copy())


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found

"""Running programs: from a spawned process to its exit, whatever happens to the worker on the way."""

import signal as os_signals
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast, final

import msgspec
import trio
from msgspec import Raw

from kernel.accounts.account import Accounts
from kernel.accounts.account_record import Account
from kernel.clock import Clock
from kernel.config import Config
from kernel.link import Entrance
from kernel.messages.pipe import Pipes
from kernel.mm.contexts import Contexts
from kernel.outcome import ended, failure, lost
from kernel.packages import Packages
from kernel.panic import contain, first
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.programs import Image, Programs
from kernel.wait import slowly
from kernel.watch.trace import Trace
from kernel.workers.command import CommandHost, Streams
from kernel.workers.launch import CommandRequest, Launched, Launcher, LaunchRequest, folders_of
from kernel.workers.shared import Seat, SharedWorker
from kernel.workers.supervision import Judge, Supervision, grants_of
from kernel.workers.worker import WorkerHost
from syscalls import worker as abi
from syscalls.calls.process import Exit, Spawn, SpawnMany
from syscalls.calls.signalling import Action
from syscalls.errors import BrokenPipe, IOFailed, SyscallError
from syscalls.link.duplex import Duplex
from syscalls.link.ticket import Ticket
from syscalls.resources import NAMES, Resource
from syscalls.signals import Signal

GroupKey = tuple[object, ...]
LAST_WORDS_S: Final = 2.0
"""What a supervisor gets to tell what its worker did, once that is gone."""
SIGNALS_AT_ONCE: Final = 32


@final
class Executor:
    """Starts programs in workers. Owns the tasks in which they live, in the nursery it is given at boot."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        trace: Trace,
        accounts: Accounts,
        processes: ProcessTable,
        contexts: Contexts,
        launcher: Launcher,
        pipes: Pipes,
        packages: Packages,
    ) -> None:
        self._config = config
        self._clock = clock
        self._trace = trace
        self._accounts = accounts
        self._processes = processes
        self._contexts = contexts
        self._launcher = launcher
        self._pipes = pipes
        self._nursery: trio.Nursery | None = None
        self._gate: Entrance | None = None
        self.judge: Judge | None = None
        self._supervised: dict[int, Supervision] = {}
        self._running: dict[int, Ticket | Seat | CommandHost] = {}
        self._shared: dict[GroupKey, SharedWorker] = {}
        self._programs = Programs(config.programs, packages)
        self.grace_s = config.bounds.grace_s

    def attach(self, nursery: trio.Nursery, gate: Entrance, judge: Judge) -> None:
        """Boot's last step: where the tasks live, where the workers' calls go, and what they do with plain files."""
        self._nursery = nursery
        self._gate = gate
        self.judge = judge
        self._processes.capabilities.changed = self._tell_supervisors

    def image(self, program: str) -> Image:
        """See Programs.image."""
        return self._programs.image(program)

    def start(self, process: Process, image: Image, spawn: Spawn | SpawnMany, args: Raw) -> None:
        """Runs `process` with `args`; it ends as a zombie of its parent."""
        assert self._nursery is not None, "attach comes first"
        process.limiter = self
        asked = [_request(process, image, spawn, args)]
        if spawn.shared:
            self._share(process, image, asked.pop())
        else:
            self._nursery.start_soon(self._live, process, lambda: self._host(process, image, asked))

    def start_command(self, process: Process, request: CommandRequest, streams: Streams, *, default_model: str) -> None:
        """As `start`, an executable."""
        assert self._nursery is not None and self._gate is not None, "attach comes first"
        process.limiter = self
        host = self._running[process.pid] = process.host = CommandHost(
            process,
            request,
            streams,
            launcher=self._launcher,
            gate=self._gate,
            pipes=self._pipes,
            bounds=self._config.bounds,
            clock=self._clock,
            default_model=default_model,
            supervise=self._supervise,
        )
        self._nursery.start_soon(self._live, process, host.run)

    def signal(self, process: Process, number: Signal) -> None:
        """Delivers a signal; TERM begins the grace time. Zombies take no notice."""
        if process.exit is not None:
            return
        self._trace.event("signal", pid=process.pid, signal=number.name)
        match number:
            case Signal.KILL:
                self._end(process, "killed")
                self._now(process)
            case Signal.INT if isinstance(process.host, CommandHost):
                self._deliver(process, number)
            case Signal.INT | Signal.TERM if _action(process, Signal.TERM) == "default":
                self._end(process, "terminated")
            case Signal.STOP:
                process.stop()
                self._deliver(process, number)
            case Signal.CONT:
                process.resume()
                self._deliver(process, number)
            case _:
                self._tell(process, number)

    def signal_all(self, processes: Sequence[Process], number: Signal, then: Callable[[], None]) -> None:
        """As `signal`, of many: the first now, the others a few at a time. `then` is called after each few."""
        for process in processes[:SIGNALS_AT_ONCE]:
            self.signal(process, number)
        then()
        if len(processes) > SIGNALS_AT_ONCE:
            assert self._nursery is not None
            self._nursery.start_soon(self._signal_rest, processes[SIGNALS_AT_ONCE:], number, then)

    async def _signal_rest(self, processes: Sequence[Process], number: Signal, then: Callable[[], None]) -> None:
        await trio.lowlevel.checkpoint()
        self.signal_all(processes, number, then)

    def end(self, process: Process, why: str) -> None:
        """Asks it to end as TERM does, for the reason `why` (a status of Exit)."""
        if process.exit is None:
            self._end(process, why)

    def over(self, process: Process, what: str) -> None:
        """Its worker ran into a limit (`what`: which, and how much it was): it is ended at once."""
        if process.exit is None and not process.over:
            process.over = what
            self._trace.event("limit", pid=process.pid, limit=what)
            self._end(process, "over_limit")
            self._now(process)

    def over_limit(self, account: Account, limited: Account, resource: Resource) -> None:
        """A limit is hit: QUOTA for the process that was refused, and for the one whose limit it is."""
        self._trace.event(
            "over_limit",
            pid=account.pid,
            account=limited.shown,
            resource=NAMES[resource],
            limit=limited.limits[resource],
        )
        for pid in dict.fromkeys((account.pid, limited.pid)):
            process = self._processes.find(pid)
            if process is not None:
                self.signal(process, Signal.QUOTA)

    def _end(self, process: Process, why: str) -> None:
        first = process.ending is None
        process.ending = why if first or why == "killed" else process.ending
        process.resume()
        self._deliver(process, Signal.CONT)
        if process.kind == "session":
            if process.stop_scope is not None:
                process.stop_scope.cancel()
            return
        ticket = self._running.get(process.pid)
        if ticket is None:
            self._now(process)
            return
        ticket.cancel("TERM")
        if first and self._nursery is not None:
            self._nursery.start_soon(self._grace, process)

    async def _grace(self, process: Process) -> None:
        with trio.move_on_after(self.grace_s):
            await process.ended.wait()
            return
        self._trace.event("grace_over", pid=process.pid)
        if isinstance(process.host, Seat):
            process.host.lose_worker()
        self._now(process)

    def _now(self, process: Process) -> None:
        if process.stop_scope is not None:
            process.stop_scope.cancel()
        elif isinstance(process.host, Seat):
            seat: Seat = process.host
            self._left(process, ended(process, process.ending or "killed"))
            seat.drop()
            assert self._nursery is not None
            self._nursery.start_soon(self._ghost, seat)

    def _tell(self, process: Process, number: Signal) -> None:
        """A signal that a program may see: as it chose."""
        match _action(process, number):
            case "ignore":
                pass
            case "hold":
                assert process.signals is not None
                process.signals.hold(number)
            case _:
                self._deliver(process, number)

    def _deliver(self, process: Process, number: Signal) -> None:
        if process.host is not None:
            process.host.deliver(number)

    async def _live(self, process: Process, work: Callable[[], Awaitable[Exit]]) -> None:
        """One process from its worker's birth to its exit; structured so that nothing of it outlives this task."""
        outcome = lost(process)
        try:
            with trio.CancelScope() as scope:
                process.stop_scope = scope
                if process.ending is not None:  # it was killed before it began
                    scope.cancel()
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._wall, process)
                        outcome = await work()
                        nursery.cancel_scope.cancel()
                except* SyscallError as failed:
                    outcome = failure(process, cast(SyscallError, first(failed)))
                except* Exception as bug:
                    outcome = failure(process, IOFailed(f"the kernel failed in {process.name}: {contain(bug)}"))
        finally:  # also when the machine goes down in disorder: whoever waits for this end must see it
            if process.ending is not None and outcome.status != "done":
                outcome = ended(process, process.ending)
            self._bury(process, outcome)

    def _share(self, process: Process, image: Image, request: abi.Run) -> None:
        """Puts `process` beside its equals, or into a worker of its own that others will join."""
        assert self._nursery is not None and self._gate is not None
        key = (
            image, process.principal, process.account.parent, process.rights, process.packages, process.tier,
            process.limits,
        )  # fmt: skip
        worker = self._shared.get(key)
        capabilities = self._processes.capabilities
        stamp = capabilities.changes, capabilities.grants
        if worker is None or not worker.has_room or not worker.holds_still(process.rights, stamp):
            self._shared = {key: each for key, each in self._shared.items() if each.has_room}
            worker = self._shared[key] = SharedWorker(
                _wanted(process, image),
                launcher=self._launcher,
                gate=self._gate,
                bounds=self._config.bounds,
                clock=self._clock,
                ended=self._left,
            )
            self._nursery.start_soon(worker.run)
        self._running[process.pid] = worker.take(process, request)
        if self._accounts.wall_deadline(process.account) is not None:
            self._nursery.start_soon(self._shared_wall, process)

    def _left(self, process: Process, outcome: Exit) -> None:
        """A process that shares a worker has ended; one that was killed has done so before."""
        self._running.pop(process.pid, None)
        if process.exit is None:
            if process.ending is not None and outcome.status != "done":
                outcome = ended(process, process.ending)
            self._bury(process, outcome)

    async def _shared_wall(self, process: Process) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wall, process)
            await process.ended.wait()
            nursery.cancel_scope.cancel()

    async def _ghost(self, seat: Seat) -> None:
        """A killed process is dead, its code may not know: it has the grace time, then its worker goes with it."""
        with trio.move_on_after(self.grace_s):
            await seat.left()
            return
        self._trace.event("grace_over", pid=seat.process.pid)
        seat.lose_worker()

    async def _host(self, process: Process, image: Image, asked: list[abi.Run]) -> Exit:
        """What is `asked` is taken out when it is sent: a program's arguments may weigh sixteen megabytes, and the
        frames that are about it live as long as it does, and until garbage is sought where it was ended."""
        assert self._gate is not None
        launched = await self._launcher.launch(_wanted(process, image))
        worker = WorkerHost(process, launched, self._gate, bounds=self._config.bounds, clock=self._clock)
        outcome = lost(process)

        async def run(wire: Duplex) -> None:
            nonlocal outcome
            outcome = await self._run(wire, process, asked)

        if launched.control is None:
            await worker.serve(run)
        elif await self._supervise(process, launched, worker.serve(run)):
            return failure(process, IOFailed("its supervisor died, and with it its files and sockets: start it again"))
        if worker.over and outcome.status != "done" and process.ending is None:
            self.over(process, worker.over)
        return outcome

    async def _supervise(self, process: Process, launched: Launched, work: Awaitable[None]) -> bool:
        """Does `work` while somebody answers the worker's plain calls; whether nobody did any more."""
        assert self.judge is not None and launched.control is not None
        supervision = Supervision(process, launched.control, grants_of(process), self.judge)
        self._supervised[process.pid] = supervision
        error: BaseExceptionGroup[SyscallError] | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervision.run, lambda: launched.signal(os_signals.SIGKILL))
                try:
                    await work
                except* SyscallError as failed:  # the program's own, or what it made of having no supervisor
                    error = failed
                finally:
                    supervision.finish(LAST_WORDS_S)
        finally:
            del self._supervised[process.pid]
        if error is not None and not supervision.lost:
            raise error
        return supervision.lost

    def _tell_supervisors(self) -> None:
        """Somebody's rights have changed: those whose they are hear of it before anything else happens."""
        for supervision in tuple(self._supervised.values()):
            supervision.refresh()

    async def _run(self, wire: Duplex, process: Process, asked: list[abi.Run]) -> Exit:
        ticket = wire.begin(abi.RUN, asked.pop())
        self._running[process.pid] = ticket
        if process.ending is not None:
            ticket.cancel("TERM")
        try:
            returned: abi.Returned = await ticket.outcome()
        except BrokenPipe:
            if wire.peer.closed is None:
                raise
            return lost(process)
        finally:
            del self._running[process.pid]
        return Exit(pid=process.pid, status="done", value=returned.value.copy())

    async def _wall(self, process: Process) -> None:
        """The wall-time limit of its account, or of one above it."""
        deadline = self._accounts.wall_deadline(process.account)
        if deadline is None:
            return
        await trio.sleep(max(0.0, deadline - self._clock.now()))
        process.over = process.over or f"wall time: {deadline - process.started_s:.4g} s"
        self._trace.event("limit", pid=process.pid, limit="wall_s")
        self.end(process, "timed_out")
        await trio.sleep_forever()

    def _bury(self, process: Process, outcome: Exit) -> None:
        """The process has ended: its contexts are given back, its children end or are adopted, its parent is told."""
        self._contexts.release(process)
        self.orphan(process)
        self._accounts.vacate(process.account, Resource.PROCESSES, 1)
        self._accounts.close(process.account)
        tokens = process.prompt_tokens + process.generated_tokens
        exit_ = msgspec.structs.replace(outcome, tokens=tokens, wall_s=self._clock.now() - process.started_s)
        process.host = None
        self._running.pop(process.pid, None)
        self._processes.ended(process, exit_)
        parent = process.parent
        if parent is not None and parent.exit is None:
            self._tell(parent, Signal.CHLD)

    def orphan(self, parent: Process) -> None:
        """A parent has ended: its children end with it, but for those that were spawned to outlive it; many of them a
        few at a time, for others to go on between."""
        doomed: list[Process] = []
        for child in tuple(parent.children.values()):
            if child.exit is not None:
                continue
            if child.detached:
                self._processes.adopt(child)
            else:
                doomed.append(child)
        for child in doomed[:SIGNALS_AT_ONCE]:
            self.end(child, "terminated")
        if len(doomed) > SIGNALS_AT_ONCE:
            assert self._nursery is not None
            self._nursery.start_soon(self._end_all, doomed[SIGNALS_AT_ONCE:])

    async def _end_all(self, children: Sequence[Process]) -> None:
        async for child in slowly(children, at_once=SIGNALS_AT_ONCE):
            self.end(child, "terminated")


def _request(process: Process, image: Image, spawn: Spawn | SpawnMany, args: Raw) -> abi.Run:
    return abi.Run(
        pid=process.pid,
        channel=process.pid,
        program=image.program,
        file=image.file,
        args=args,
        kwargs=spawn.kwargs,
        model=process.model,
        seed=process.pid,
        packages=process.packages,
    )


def _wanted(process: Process, image: Image) -> LaunchRequest:
    """In the tier `files` only the program and its packages are shown: all else is opened by right, as it is then."""
    assert process.tier != "command", "a command has its own way"
    plain = LaunchRequest(
        pid=process.pid, name=process.name, folders=_visible(process, image), tier=process.tier, limits=process.limits
    )
    if process.tier != "files":
        return plain
    own = process.packages if image.file is None else (*process.packages, image.file)
    return msgspec.structs.replace(
        plain, folders=own, mediated=grants_of(process), writes=folders_of(process.rights, "write")
    )


def _visible(process: Process, image: Image) -> tuple[str, ...]:
    """What the worker sees: what the rights of `process` show, its packages, and the file that it runs."""
    folders = tuple(dict.fromkeys((*folders_of(process.rights), *process.packages)))
    if image.file is None or any(image.file.startswith(folder + "/") for folder in folders):
        return folders
    return (*folders, image.file)


def _action(process: Process, number: Signal) -> Action:
    return "default" if process.signals is None else process.signals.action(number)

"""Workers behind the sandbox: one zygote, started when it is first needed and again when it died."""

import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal, TypeVar, final

import trio

from kernel.hosts.mediator import Mediator
from kernel.loop import TRIO
from kernel.watch.trace import Trace
from kernel.workers.governor import Governor
from kernel.workers.launch import CommandEnd, CommandRequest, Launched, LaunchedCommand, LaunchRequest
from sandbox.ending import finish
from sandbox.errors import JailError, ZygoteGone
from sandbox.groups import Groups, NoGroups, make_groups
from sandbox.guest import GIVEN_FD
from sandbox.interpreter import guest_binds, guest_path
from sandbox.spec import COMMAND_LIMITS, Bind, CommandSpec, Limits, Mount, MountKind, WorkerSpec, ZygoteSpec
from sandbox.system import PATH, system
from sandbox.zygote import Command, Worker, Zygote
from syscalls.calls.process import Tier
from syscalls.errors import Invalid, IOFailed
from syscalls.link.transport import SocketTransport
from syscalls.mediation import Serve
from syscalls.worker import DOOR_FD
from syscalls.worker_limits import WorkerLimits, show_limit

ENTRY: Final = "userland.worker:main"
DOOR_ENTRY: Final = "userland.door.worker:main"
REHEARSAL: Final = "userland.rehearsal:play"
PRELOAD: Final = ("userland.worker", "userland.door.worker", "kernos", "userland.agent", "userland.documents")
Made = TypeVar("Made")
_TRIES: Final = 3
_TICKS: Final = 0.75
"""The system counts ticks against RLIMIT_CPU and tells exact time afterwards; on a busy machine that is less."""
_OUTPUT_BYTES: Final = 16 * 1024


def zygote_spec() -> ZygoteSpec:
    """The interpreter environment that the kernel itself runs in, as workers get it."""
    return ZygoteSpec(
        python=sys.executable, path=guest_path(), preload=PRELOAD, rehearsal=REHEARSAL, binds=guest_binds()
    )


@final
class JailedWorker:
    """A confined worker: its socket, its raw output, its signals, its end."""

    def __init__(
        self, worker: Worker, limits: WorkerLimits, governor: Governor, control: socket.socket | None = None
    ) -> None:
        self._worker = worker
        self._limits = limits
        self._governor = governor
        governor.watch(worker.pid, worker.group)
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
        self._reaped.set()
        self.over = _over_memory(self._worker, self._limits)
        allowed_s = self._limits.cpu_s
        if allowed_s is not None and cpu_s >= _TICKS * allowed_s and exit_.signal == signal.SIGKILL:
            self.over = show_limit("cpu_s", allowed_s)
        return f"signal {exit_.signal}" if exit_.signal is not None else f"status {exit_.code}"

    async def aclose(self) -> None:
        """Closes the kernel's ends."""
        os.close(self._worker.output)
        self.transport.close()
        await trio.lowlevel.checkpoint()


async def _end(worker: JailedWorker) -> None:
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

    def __init__(self, command: Command, limits: WorkerLimits, governor: Governor) -> None:
        self._command = command
        self._governor = governor
        governor.watch_family(command.worker.pid, command.worker.group)
        self._limits = limits
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

    async def drain(self, sink: Callable[[str], None]) -> None:
        """Hands on what the first process of the jail says itself, until it is gone."""
        async with trio.lowlevel.FdStream(os.dup(self._command.worker.output)) as stream:
            async for data in stream:
                sink(bytes(data).decode(errors="replace"))

    async def ended(self) -> CommandEnd | None:
        """How the command ended; None where its jail was ended first."""
        told = await self._command.ended()
        return None if told is None else CommandEnd(code=told.code, signal=told.signal, failed=told.failed)

    async def wait(self) -> str:
        """Waits for the end of the jail, reaps it, and says how it ended."""
        exit_, _ = await finish(self._command.worker.pidfd)
        self._governor.forget(self._command.worker.pid)
        self._reaped.set()
        self.over = _over_memory(self._command.worker, self._limits)
        return f"signal {exit_.signal}" if exit_.signal is not None else f"status {exit_.code}"

    async def aclose(self) -> None:
        """Closes the kernel's ends."""
        self._command.door.close()
        self._command.worker.sock.close()
        terminal = (self.terminal,) if self.terminal >= 0 else ()
        for fd in (self._command.worker.output, *self._stdio, *terminal):
            os.close(fd)
        await trio.lowlevel.checkpoint()


@final
class JailLauncher:
    """Spawns workers from the zygote; a zygote that died is replaced, and nobody notices."""

    def __init__(self, *, trace: Trace, state_folder: Path, governor: Governor, without: tuple[str, ...] = ()) -> None:
        self._trace = trace
        self._groups = _groups(trace)
        self._governor = governor
        governor.trace = trace
        self._never = (str(state_folder),)
        self._mediator = Mediator(trace, state_folder / "logs" / "mediation.log")
        self._without = without
        self._zygote: Zygote | None = None
        self._starting = trio.Lock()

    @property
    def zygote_pid(self) -> int:
        """The pid of the zygote, 0 while there is none."""
        return self._zygote.pid if self._zygote else 0

    async def launch(self, request: LaunchRequest) -> Launched:
        binds = tuple(Bind(folder, folder) for folder in request.folders)
        given = () if request.door is None else (request.door,)

        async def spawn(zygote: Zygote) -> Launched:
            if given:
                assert GIVEN_FD == DOOR_FD, "the door's worker looks for its socket where it is put"
                tier: Literal["files", "door"] = "files" if request.tier == "files" else "door"
                spec = WorkerSpec(
                    entry=DOOR_ENTRY, tier=tier, without=self._without, limits=_limits(request.limits, request.tier)
                )
            else:
                limits = _limits(request.limits, request.tier)
                spec = WorkerSpec(entry=ENTRY, binds=binds, without=self._without, tier=request.tier, limits=limits)
            return await self._supervised(await zygote.spawn(spec, given), request, binds)

        return await self._made(spawn)

    async def command(self, request: CommandRequest) -> LaunchedCommand:
        host = system()
        kinds: dict[bool, MountKind] = {False: "read", True: "write"}
        granted = tuple(Mount(each.path, kinds[each.writable], each.layer) for each in request.granted)

        async def spawn(zygote: Zygote) -> LaunchedCommand:
            spec = CommandSpec(
                path=request.path,
                argv=request.argv,
                env={"PATH": PATH, "HOME": "/tmp", "LANG": "C.UTF-8", **request.env},
                cwd=request.cwd,
                door_env=request.door_env,
                mounts=(*host.mounts, *granted),
                links=host.links,
                files=host.files,
                terminal=request.terminal,
                limits=_command_limits(request.limits),
                without=self._without,
            )
            return JailedCommand(await zygote.spawn_command(spec), request.limits, self._governor)

        return await self._made(spawn)

    async def _made(self, spawn: Callable[[Zygote], Awaitable[Made]]) -> Made:
        for _ in range(_TRIES):
            zygote = await self._ready()
            try:
                return await spawn(zygote)
            except ZygoteGone:
                await self._replace(zygote)
            except JailError as failed:
                raise IOFailed(f"the sandbox could not be put up: {failed}; see 'kernos doctor'") from None
            except ValueError as bad:
                raise Invalid(str(bad)) from None
            except OSError as failed:
                raise IOFailed(f"no worker can be made: {failed}; is the limit of open files too low?") from None
        raise IOFailed(f"{_TRIES} zygotes in a row died: see 'kernos doctor'")

    async def _supervised(self, worker: Worker, request: LaunchRequest, binds: tuple[Bind, ...]) -> Launched:
        """The worker, once somebody answers it; ended if nobody does."""
        if worker.mediated is None:
            return JailedWorker(worker, request.limits, self._governor)
        assert request.mediated is not None, "a worker of the tier files is told what it may do"
        notify, root = worker.mediated
        seen = tuple(bind.target for bind in (*guest_binds(), *binds))
        told = Serve(pid=worker.pid, binds=seen, never=self._never, grants=request.mediated)
        try:
            control = self._mediator.serve(told, notify=notify, root=root, pidfd=worker.pidfd)
        except IOFailed:
            await _end(JailedWorker(worker, request.limits, self._governor))
            raise
        finally:
            os.close(notify)
            os.close(root)
        return JailedWorker(worker, request.limits, self._governor, control)

    async def aclose(self) -> None:
        await self._mediator.aclose()
        if self._zygote is not None:
            await self._zygote.aclose()
            self._zygote = None
        if self._groups is not None:
            self._groups.close()

    async def _ready(self) -> Zygote:
        async with self._starting:
            if self._zygote is None:
                spec = zygote_spec()
                try:
                    self._zygote = await Zygote.start(spec, self._groups)
                except (JailError, OSError) as failed:
                    raise IOFailed(f"no zygote: {failed}; see 'kernos doctor'") from None
                self._trace.event("zygote_ready", host=self._zygote.pid)
                if self._zygote.ungrouped:
                    self._trace.event("groups", host=self._zygote.pid, none=self._zygote.ungrouped)
            return self._zygote

    async def _replace(self, dead: Zygote) -> None:
        async with self._starting:
            if self._zygote is dead:
                self._zygote = None
                self._trace.event("zygote_lost", host=dead.pid)
                await dead.aclose()


def _groups(trace: Trace) -> Groups | None:
    """The kernel's control groups, where it can make any: what they do is in the trace."""
    try:
        groups = make_groups()
    except NoGroups as none:
        trace.event("groups", none=none)
        return None
    used = ", ".join(sorted(groups.controllers)) or "none"
    trace.event("groups", folder=groups.folder, controllers=used, lacking=groups.lacking)
    return groups


def _command_limits(asked: WorkerLimits) -> Limits:
    """Of each OS process of a command. Its memory is what it writes to: it may reserve more addresses than that."""
    most = COMMAND_LIMITS
    return Limits(
        cpu_s=_least(asked.cpu_s, most.cpu_s),
        memory_bytes=most.memory_bytes,
        data_bytes=_least(asked.memory_bytes, most.data_bytes),
        processes=_least(asked.processes, most.processes),
        files=_least(asked.files, most.files),
        file_bytes=_least(asked.file_bytes, most.file_bytes),
    )


def _least(asked: int | None, most: int | None) -> int:
    assert most is not None, "every limit of a command has a number"
    return most if asked is None else min(asked, most)


def _limits(asked: WorkerLimits, tier: Tier) -> Limits:
    """Those that the system keeps; what is not said is the sandbox's own default. Only plain files can be written."""
    kept = ("cpu_s", "memory_bytes", "processes", "files", *(("file_bytes",) if tier == "files" else ()))
    return Limits(**{field: amount for field in kept if (amount := getattr(asked, field)) is not None})

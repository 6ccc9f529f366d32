"""Workers behind the sandbox: one zygote, started when it is first needed and again when it died."""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal, TypeVar, final

import trio

from kernel.hosts.mediator import Mediator
from kernel.watch.trace import Trace
from kernel.workers.disk import DiskWatch
from kernel.workers.governor import Governor
from kernel.workers.jailed import JailedCommand, JailedWorker, end
from kernel.workers.launch import CommandRequest, Launched, LaunchedCommand, LaunchRequest
from kernel.workers.room import Ground
from sandbox.errors import JailError, ZygoteGone
from sandbox.groups import Groups, NoGroups, make_groups
from sandbox.guest import GIVEN_FD
from sandbox.interpreter import guest_binds, guest_path
from sandbox.spec import COMMAND_LIMITS, Bind, CommandSpec, Limits, Mount, MountKind, WorkerSpec, ZygoteSpec
from sandbox.system import PATH, system
from sandbox.worker import Worker
from sandbox.zygote import Zygote
from syscalls.calls.process import Tier
from syscalls.errors import Invalid, IOFailed
from syscalls.mediation import Serve
from syscalls.worker import DOOR_FD
from syscalls.worker_limits import WorkerLimits

ENTRY: Final = "userland.worker:main"
DOOR_ENTRY: Final = "userland.door.worker:main"
REHEARSAL: Final = "userland.rehearsal:play"
PRELOAD: Final = ("userland.worker", "userland.door.worker", "kernos", "userland.agent", "userland.documents")
Made = TypeVar("Made")
_TRIES: Final = 3
_OUTPUT_BYTES: Final = 16 * 1024


def zygote_spec() -> ZygoteSpec:
    """The interpreter environment that the kernel itself runs in, as workers get it."""
    return ZygoteSpec(
        python=sys.executable, path=guest_path(), preload=PRELOAD, rehearsal=REHEARSAL, binds=guest_binds()
    )


@final
class JailLauncher:
    """Spawns workers from the zygote; a zygote that died is replaced, and nobody notices."""

    def __init__(
        self,
        *,
        trace: Trace,
        state_folder: Path,
        governor: Governor,
        disk: DiskWatch,
        without: tuple[str, ...] = (),
    ) -> None:
        self._trace = trace
        self._groups = _groups(trace, without)
        self._governor = governor
        self._disk = disk
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
        ground = await self._disk.ground(request.writes)

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
            return await self._supervised(await zygote.spawn(spec, given), request, binds, ground)

        return await self._made(spawn)

    async def command(self, request: CommandRequest) -> LaunchedCommand:
        host = system()
        kinds: dict[bool, MountKind] = {False: "read", True: "write"}
        granted = tuple(Mount(each.path, kinds[each.writable], each.layer) for each in request.granted)
        written = tuple(f"{each.layer}/upper" if each.layer else each.path for each in request.granted if each.writable)
        ground = await self._disk.ground(written)

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
            command = await zygote.spawn_command(spec)
            return JailedCommand(command, request.limits, self._governor, self._disk, ground)

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

    async def _supervised(
        self, worker: Worker, request: LaunchRequest, binds: tuple[Bind, ...], ground: Ground
    ) -> Launched:
        """The worker, once somebody answers it; ended if nobody does."""
        if worker.mediated is None:
            return JailedWorker(worker, request.limits, self._governor, self._disk)
        assert request.mediated is not None, "a worker of the tier files is told what it may do"
        notify, root = worker.mediated
        seen = tuple(bind.target for bind in (*guest_binds(), *binds))
        told = Serve(pid=worker.pid, binds=seen, never=self._never, grants=request.mediated)
        try:
            control = self._mediator.serve(told, notify=notify, root=root, pidfd=worker.pidfd)
        except IOFailed:
            await end(JailedWorker(worker, request.limits, self._governor, self._disk))
            raise
        finally:
            os.close(notify)
            os.close(root)
        return JailedWorker(worker, request.limits, self._governor, self._disk, control, ground=ground)

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


def _groups(trace: Trace, without: tuple[str, ...]) -> Groups | None:
    """The kernel's control groups, where they are good for something: a controller, or to end whole what no pid
    namespace ends. Each worker's costs the zygote half a millisecond. What came of it is in the trace."""
    try:
        groups = make_groups()
    except NoGroups as none:
        trace.event("groups", none=none)
        return None
    if not groups.controllers and "pid" not in without:
        groups.close()
        trace.event("groups", none=groups.lacking)
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

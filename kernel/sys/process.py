"""The process family: spawn, wait, signals, and what processes print and say of themselves."""

import os
from collections.abc import Mapping
from typing import final

from msgspec import Struct

from kernel.accounts.account_record import Account
from kernel.accounts.price import micros
from kernel.budget import limits_of, narrower
from kernel.capability import how_to_grant
from kernel.derivation import HELD_MAX
from kernel.gate import Handler
from kernel.machine import Machine
from kernel.process import Process
from kernel.programs import Image
from kernel.signals import signal_of
from kernel.trap import Trap
from kernel.wait import first_of, within
from kernel.watch.tracetext import short
from kernel.workers.launch import shown_by
from kernel.workers.limit import narrowed
from kernel.workers.worker import write_log
from syscalls.calls import process as abi
from syscalls.calls.command import Exec
from syscalls.errors import Invalid, NoSuchProcess, PermissionDenied, SyscallError, TimedOut
from syscalls.filepath import plain
from syscalls.resources import Resource
from syscalls.rights import Right, meet, parse_rights, uncovered
from syscalls.signals import Signal
from syscalls.worker_limits import WorkerLimits

NICE_MIN, NICE_MAX = -20, 19
RIGHTS_CHARS_MAX = 8192
SPAWN_MANY_MAX = 1024
PACKAGES_MAX = 16
_NO_LIMITS: Mapping[Resource, int] = {}


def self_(machine: Machine, trap: Trap, args: abi.Self) -> abi.ProcessInfo:
    return describe(machine, trap.process, machine.scheduler.queues(), machine.clock.now())


def spawn(machine: Machine, trap: Trap, args: abi.Spawn) -> abi.Spawned:
    plan = plan_child(machine, trap.process, args)
    child = add_child(machine, trap.process, child_account(machine, trap.process, plan), plan, args)
    machine.executor.start(child, plan.image, args, args.args)
    return abi.Spawned(pid=child.pid)


def spawn_many(machine: Machine, trap: Trap, args: abi.SpawnMany) -> abi.SpawnedMany:
    """All or none: nothing starts before there is an account and a place for each."""
    if not 1 <= len(args.args) <= SPAWN_MANY_MAX:
        raise Invalid(f"{len(args.args)} processes at once: 1 to {SPAWN_MANY_MAX}")
    parent = trap.process
    plan = plan_child(machine, parent, args)
    machine.processes.check_room(len(args.args))
    accounts: list[Account] = []
    try:
        for _ in args.args:
            accounts.append(child_account(machine, parent, plan))
    except SyscallError:
        for account in accounts:
            _give_back(machine, account)
        raise
    children: list[Process] = []
    try:
        for account in accounts:
            children.append(add_child(machine, parent, account, plan, args))
    except SyscallError:  # the first one tells: what it was refused, all are
        assert not children
        for account in accounts[1:]:
            _give_back(machine, account)
        raise
    for child, each in zip(children, args.args, strict=True):
        machine.executor.start(child, plan.image, args, each)
    return abi.SpawnedMany(pids=tuple(child.pid for child in children))


@final
class Plan(Struct, frozen=True):
    """What was checked of a spawn, for one child or many."""

    image: Image
    name: str
    rights: tuple[Right, ...]
    model: str | None
    wall_s_max: float | None
    limits: Mapping[Resource, int]
    packages: tuple[str, ...]
    worker: WorkerLimits
    tier: abi.ShownTier


def plan_child(machine: Machine, parent: Process, args: abi.Spawn | abi.SpawnMany | Exec) -> Plan:
    """What a child of `parent` will be. Raises PermissionDenied (EPERM), NotFound (ENOENT) and Invalid (EINVAL)."""
    if not isinstance(args, Exec) and args.shared and args.tier == "files":
        raise Invalid("a program of the tier files has a worker to itself: leave shared out")
    image = Image(args.path) if isinstance(args, Exec) else machine.executor.image(args.program)
    rights = _rights(machine, parent, image, args.rights)
    model = args.model or parent.model
    if model is not None:
        machine.devices.names(model)
    budget = args.budget
    package = machine.plugins.find(image.package) if image.package else None
    if package is not None and package.budget is not None:
        budget = narrower(budget or abi.Budget(), package.budget)
    limits = _NO_LIMITS if budget is None else limits_of(budget)
    worker = narrowed(parent.limits, args.limits)
    packages: tuple[str, ...] = ()
    if isinstance(args, Exec):
        name = args.path.rpartition("/")[2]
    else:
        name = program_name(args.program)
        packages = parent.packages if args.packages is None else _check_packages(parent, args.packages)
        if image.site:
            packages = (image.site, *(args.packages or ()))
    name = short(args.name or name or "command")
    tier: abi.ShownTier = "command" if isinstance(args, Exec) else args.tier
    if package is not None:
        worker = package.limited(worker)
        tier = package.record.manifest.tier if tier == "pure" else tier
    return Plan(image, name, rights, model, budget and budget.wall_s, limits, packages, worker, tier)


def child_account(machine: Machine, parent: Process, plan: Plan) -> Account:
    """An account that has its place among the processes. Raises OverQuota (EQUOTA)."""
    account = machine.accounts.open(
        parent.account, name=plan.name, principal=parent.principal, limits=plan.limits, wall_s_max=plan.wall_s_max
    )
    try:
        machine.accounts.occupy(account, Resource.PROCESSES, 1)
    except SyscallError:
        machine.accounts.close(account)
        raise
    return account


def add_child(
    machine: Machine, parent: Process, account: Account, plan: Plan, args: abi.Spawn | abi.SpawnMany | Exec
) -> Process:
    """The process itself, not started yet; its account is given back where there cannot be one. Raises TryAgain
    (EAGAIN), PermissionDenied (EPERM)."""
    try:
        child = machine.processes.add(
            parent=parent,
            principal=parent.principal,
            kind="program",
            name=plan.name,
            account=account,
            rights=plan.rights,
            image=args.path if isinstance(args, Exec) else args.program,
            package=plan.image.package or parent.package,
            nice=_bounded(parent.nice + args.nice),
            model=plan.model,
            packages=plan.packages,
            limits=plan.worker,
        )
    except SyscallError:
        _give_back(machine, account)
        raise
    child.detached = args.detach
    child.tier = plan.tier
    child.asks = isinstance(args, abi.Spawn) and args.ask
    return child


def _give_back(machine: Machine, account: Account) -> None:
    machine.accounts.vacate(account, Resource.PROCESSES, account.own[Resource.PROCESSES])
    machine.accounts.close(account)


async def wait(machine: Machine, trap: Trap, args: abi.Wait) -> abi.Exit:
    parent = trap.process
    with within(args.timeout_s):
        while True:
            child = _ended_child(parent, args.pid)
            if child is not None:
                assert child.exit is not None
                exit_ = child.exit
                machine.processes.reap(child)
                return exit_
            await parent.child_changed.wait()
    raise TimedOut(f"no child ended in {args.timeout_s:g} s; it is still there to be waited for")


def kill(machine: Machine, trap: Trap, args: abi.Kill) -> abi.Nothing:
    number = signal_of(args.signal)
    targets = [machine.processes.get(args.pid)] if args.pid >= 0 else machine.processes.in_group(-args.pid)
    for target in targets:
        if target.kind == "tool" or target.parent is None:
            raise Invalid(f"process {target.pid} ({target.name}) belongs to the kernel: 'kernos down' ends the machine")
    machine.executor.signal_all(targets, number, machine.scheduler.wake if number is Signal.CONT else _nothing)
    return abi.Nothing()


def _nothing() -> None:
    """Nobody waits for this signal's effect."""


def nice(machine: Machine, trap: Trap, args: abi.Nice) -> abi.Nothing:
    if not NICE_MIN <= args.nice <= NICE_MAX:
        raise Invalid(f"nice {args.nice}: it runs from {NICE_MIN} (a larger share) to {NICE_MAX} (a smaller one)")
    target = machine.processes.get(args.pid)
    if args.nice < target.nice and trap.process.kind != "session":
        raise PermissionDenied("only the operator makes a process less nice: 'kernos nice' from a shell")
    target.nice = args.nice
    return abi.Nothing()


def list_(machine: Machine, trap: Trap, args: abi.ListProcesses) -> abi.Processes:
    mine = trap.process.principal
    shown = (p for p in machine.processes if args.all or (p.principal == mine and p.kind == "program"))
    queues, now = machine.scheduler.queues(), machine.clock.now()
    return abi.Processes(processes=tuple([describe(machine, process, queues, now) for process in shown]))


def output(machine: Machine, trap: Trap, args: abi.Output) -> abi.Nothing:
    process = trap.process
    line = abi.LogLine(at_s=machine.clock.now(), pid=process.pid, stream=args.stream, text=args.text)
    write_log(process, line)
    return abi.Nothing()


def note(machine: Machine, trap: Trap, args: abi.Note) -> abi.Nothing:
    process = trap.process
    process.note, process.done, process.total = args.note[:200], args.done, args.total
    machine.trace.event("note", pid=process.pid, note=process.note, done=args.done, total=args.total)
    return abi.Nothing()


async def logs(machine: Machine, trap: Trap, args: abi.Logs) -> abi.Nothing:
    if args.tail < 0:
        raise Invalid("tail counts pieces from the end: 0 or more")
    process = machine.processes.lately(args.pid)
    sent = max(process.log_pieces - min(args.tail, len(process.log)), 0)
    while True:
        sent = await _send_log(trap, process, sent)
        if not args.follow or process.exit is not None:
            return abi.Nothing()
        await first_of(process.log_changed.next, process.ended.event)


async def _send_log(trap: Trap, process: Process, sent: int) -> int:
    """Sends the pieces after number `sent`; those that fell out of the ring meanwhile are missing."""
    fresh = min(process.log_pieces - sent, len(process.log))
    for line in list(process.log)[len(process.log) - fresh :] if fresh > 0 else ():
        trap.emit(line)
    sent = process.log_pieces
    await trap.room()
    return sent


def _rights(machine: Machine, parent: Process, image: Image, texts: tuple[str, ...] | None) -> tuple[Right, ...]:
    """What a child holds. That of an installed package holds what the package was granted, as far as its parent has it;
    only from a shell, or within the package, it may be given more."""
    package = machine.plugins.find(image.package) if image.package not in ("", parent.package) else None
    if texts is None:
        return parent.rights if package is None else meet(parent.rights, package.rights)
    rights = _given(parent, texts)
    if package is not None and parent.kind != "session":
        excess = uncovered(rights, package.rights)
        if excess:
            raise PermissionDenied(
                f"package {package.name} was not granted '{excess[0]}', and only a shell gives it more: "
                f"'kernos run --allow', or 'kernos pkg allow {package.name}'"
            )
    return rights


def _given(parent: Process, texts: tuple[str, ...]) -> tuple[Right, ...]:
    """The rights of a child, none beyond its parent's. What a right to read shows of the host must be the parent's
    where links lead, too."""
    if len(texts) > HELD_MAX:
        raise Invalid(f"{len(texts)} rights: a process holds {HELD_MAX} at most; use wildcards")
    if sum(len(text) for text in texts) > RIGHTS_CHARS_MAX:
        raise Invalid(f"rights of more than {RIGHTS_CHARS_MAX} characters: use wildcards")
    rights = parse_rights(texts)
    excess = uncovered(rights, parent.rights)
    if not excess:
        handed_on = frozenset(parent.rights)
        excess = uncovered(shown_by(right for right in rights if right not in handed_on), parent.rights)
    if excess:
        raise PermissionDenied(
            f"a child cannot have '{excess[0]}', which process {parent.pid} ({parent.name}) does not hold: "
            f"{how_to_grant(parent, excess[0])}"
        )
    return rights


def _check_packages(parent: Process, folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders of packages of a child. Each is a sight of the host, so it takes what a right to read it takes, but
    for those that the parent sees itself; whether there is such a folder is told to nobody without that right."""
    if len(folders) > PACKAGES_MAX:
        raise Invalid(f"{len(folders)} folders of packages: at most {PACKAGES_MAX}")
    for folder in folders:
        if folder in parent.packages:
            continue
        if not folder.startswith("/") or folder == "/" or "*" in folder:
            raise Invalid(f"{folder!r} is no folder of packages: write an absolute path, below the root, without '*'")
        excess = uncovered((Right(f"file:{plain(folder)}/**", ("read",)),), parent.rights)
        if excess:
            raise PermissionDenied(
                f"process {parent.pid} ({parent.name}) cannot show packages in {folder} without '{excess[0]}': "
                f"{how_to_grant(parent, excess[0])}"
            )
        if os.path.realpath(folder) != folder or not os.path.isdir(folder):
            raise Invalid(f"{folder} is no folder of packages: name one where it really lies, not by a link")
    return folders


def describe(machine: Machine, process: Process, queues: dict[int, int], now: float) -> abi.ProcessInfo:
    """One line of ps; `queues` are the scheduler's. Ten thousand of them are asked for at once."""
    held, window = machine.contexts.sizes(process)
    return abi.ProcessInfo(
        pid=process.pid,
        ppid=process.parent.pid if process.parent else 0,
        principal=process.principal,
        kind=process.kind,
        name=process.name,
        state=process.state,
        group=process.group,
        nice=process.nice,
        model=process.model or machine.devices.default,
        context_tokens=held,
        window_tokens=window,
        tokens_per_s=process.generated_tokens / process.driver_s if process.driver_s else 0.0,
        tokens=process.prompt_tokens + process.generated_tokens,
        tokens_max=process.account.limits.get(Resource.TOKENS),
        started_s=process.started_s,
        wall_s=now - process.started_s,
        faults=process.faults,
        note=process.note,
        done=process.done,
        total=process.total,
        rights=process.held.written,
        worker=process.worker_pid,
        queued=queues.get(process.pid, 0),
        money_micros=micros(process.account.used[Resource.MONEY]),
        tier=process.tier,
    )


def program_name(program: str) -> str:
    """What ps calls a program: its name, or its file's."""
    path, _, name = program.rpartition(":")
    return name or path.rpartition("/")[2].removesuffix(".py") or program


def _ended_child(parent: Process, pid: int) -> Process | None:
    """A child that has ended: `pid`, minus a group for any in it, 0 for any. Raises NoSuchProcess where there is
    none to wait for."""
    if pid > 0:
        wanted = [parent.children[pid]] if pid in parent.children else []
    else:
        wanted = [child for child in parent.children.values() if not pid or child.group == -pid]
    if not wanted:
        which = f"child {pid}" if pid > 0 else f"child in group {-pid}" if pid else "children"
        raise NoSuchProcess(f"process {parent.pid} has no {which} to wait for")
    return next((child for child in wanted if child.exit is not None), None)


def _bounded(value: int) -> int:
    return max(NICE_MIN, min(NICE_MAX, value))


HANDLERS: dict[int, Handler] = {
    abi.SELF.number: self_,
    abi.SPAWN.number: spawn,
    abi.SPAWN_MANY.number: spawn_many,
    abi.WAIT.number: wait,
    abi.KILL.number: kill,
    abi.NICE.number: nice,
    abi.LIST.number: list_,
    abi.OUTPUT.number: output,
    abi.NOTE.number: note,
    abi.LOGS.number: logs,
}

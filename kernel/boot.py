"""Boot: the machine brought up one line a subsystem, run until it is told to stop, and taken down in order.

`python -m kernel.boot --help` says what it is told on the command line; `kernos up` starts it.
"""

import argparse
import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import final

import msgspec
import trio

from kernel import config as configuration
from kernel.accounts.account import Accounts
from kernel.clock import Clock
from kernel.config import Config, ModelConfig
from kernel.derivation import Capabilities
from kernel.device import Registry
from kernel.doors.door import Door
from kernel.doors.gateway import Gateway, bind
from kernel.doors.guest import Guests
from kernel.doors.session import Sessions
from kernel.extension import load_extensions
from kernel.gate import Gate, Handler
from kernel.handles import Handles
from kernel.hosts.host_process import HostProcess, StartHost, start_child
from kernel.ledger import Ledger
from kernel.machine import Machine
from kernel.mediation import Mediation
from kernel.messages.alarm import Alarms
from kernel.messages.pipe import Pipes
from kernel.messages.topic import Topics
from kernel.mm.contexts import Contexts
from kernel.mm.eviction import Evictor
from kernel.package_use import PackageUse
from kernel.packages import Packages
from kernel.panic import first
from kernel.permission import OPERATOR, Permission
from kernel.power import Switch, stop_programs
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.requests import Requests
from kernel.scheduler import Scheduler
from kernel.seal import Seals
from kernel.shelves import Shelves
from kernel.sys import (
    account,
    admission,
    capability,
    clock,
    command,
    context,
    device,
    file,
    generate,
    growth,
    kernel,
    message,
    model,
    net,
    package,
    plugin,
    process,
    signalling,
    watch,
)
from kernel.truth import FILE, Truth
from kernel.version import VERSION
from kernel.watch.trace import Trace
from kernel.watch.trace_file import TraceFile
from kernel.watchdog import Interrupter, Watch
from kernel.workers.exec import Executor
from kernel.workers.governor import Governor
from kernel.workers.launch import Launcher
from kernel.workers.level import choose_launcher
from kernel.workers.plugins import Plugins
from syscalls.errors import SyscallError
from syscalls.signals import Signal

_PR_SET_PDEATHSIG = 1
_FILES_MAX = 65536
_GARBAGE_THRESHOLD = 10_000

FAMILIES = (
    process,
    command,
    signalling,
    context,
    generate,
    model,
    message,
    device,
    file,
    net,
    clock,
    capability,
    account,
    kernel,
    admission,
    watch,
    package,
    plugin,
)


def handlers() -> dict[int, Handler]:
    """Every row's handler, each number once."""
    bound: dict[int, Handler] = {}
    for family in FAMILIES:
        for number, handler in family.HANDLERS.items():
            assert number not in bound, f"{family.__name__} binds {number:#x} again"
            bound[number] = handler
    return bound


@final
class Running:
    """A machine that is up: what boot hands to whoever runs it."""

    def __init__(self, machine: Machine, gate: Gate, init: Process) -> None:
        self.machine = machine
        self.gate = gate
        self.init = init


@asynccontextmanager
async def machine_up(
    config: Config,
    *,
    truth: Truth,
    seals: Seals,
    make_launcher: Callable[[Trace], Launcher],
    start_host: StartHost = start_child,
    wall: Callable[[], float] | None = None,
    breaker: Interrupter | None = None,
) -> AsyncIterator[Running]:
    """The whole machine but its front door; leaving the block takes it down: TERM, the grace time, then the end.

    `wall` tells the date (None: that of a virtual clock); `breaker` ends decisions of extensions that do not end."""
    clock_ = Clock(wall, ticks=None if wall is None else time.perf_counter)
    trace = Trace(clock_, config.bounds.trace_records_max, bytes_max=config.bounds.trace_bytes_max, config=config.trace)
    accounts = Accounts(clock_.now)
    ledger = Ledger(config=config, truth=truth, accounts=accounts, trace=trace)
    processes = ProcessTable(clock=clock_, trace=trace, processes_max=config.bounds.processes_max)

    def disabled(kind: str, name: str, why: str) -> None:
        trace.event("extension_disabled", what=kind, name=name, why=why)

    packages = Packages(config.packages_folder, tell=partial(_unread, trace))
    extensions = load_extensions(
        config, packages, Watch(clock_, bound_s=config.bounds.policy_s, tell=disabled, breaker=breaker)
    )
    scheduler = Scheduler(clock_, queue_max=config.bounds.queue_max, policy=extensions.scheduling(config.scheduling))
    evictor = Evictor(extensions.eviction(config.eviction))
    devices = Registry(
        config=config,
        trace=trace,
        truth=truth,
        accounts=accounts,
        source=extensions.source,
        start_host=partial(_start_host, packages, start_host),
    )
    contexts = Contexts(
        bounds=config.bounds,
        clock=clock_,
        trace=trace,
        truth=truth,
        seals=seals,
        devices=devices,
        accounts=accounts,
        ledger=ledger,
    )
    launcher = make_launcher(trace)
    pipes = Pipes(pipes_max=config.bounds.pipes_max)
    executor = Executor(
        config=config,
        clock=clock_,
        trace=trace,
        accounts=accounts,
        processes=processes,
        contexts=contexts,
        launcher=launcher,
        pipes=pipes,
        packages=packages,
    )
    plugins = Plugins(
        config,
        packages=packages,
        clock=clock_,
        trace=trace,
        tools=devices.tools,
        processes=processes,
        launcher=launcher,
    )
    alarms = Alarms(
        clock=clock_, ring=lambda whose: executor.signal(whose, Signal.ALRM), alarms_max=config.bounds.alarms_max
    )
    requests = Requests(config.requests, clock=clock_, trace=trace, truth=truth, seals=seals, processes=processes)
    handles = Handles(each_max=config.bounds.device_handles_max)
    package_use = PackageUse(packages, clock_)
    processes.at_start += [package_use.began]
    processes.at_end += [pipes.release, alarms.release, handles.release]
    machine = Machine(
        config=config,
        clock=clock_,
        trace=trace,
        truth=truth,
        accounts=accounts,
        ledger=ledger,
        scheduler=scheduler,
        processes=processes,
        devices=devices,
        contexts=contexts,
        executor=executor,
        pipes=pipes,
        topics=Topics(),
        alarms=alarms,
        handles=handles,
        requests=requests,
        plugins=plugins,
        package_use=package_use,
        extensions=extensions,
        evictor=evictor,
        shelves=Shelves(accounts=accounts, ledger=ledger, truth=truth, devices=devices, trace=trace),
    )
    permission = Permission(processes=processes, contexts=contexts, models=devices, accounts=machine.roster)
    gate = Gate(machine, permission, handlers(), further=plugin.serve)
    init = processes.add(
        parent=None,
        principal="kernel",
        kind="session",
        name="kernos",
        account=ledger.root,
        rights=OPERATOR,
        limits=config.worker_limits,
    )
    accounts.on_limit = executor.over_limit
    async with _kept(ledger, package_use, trace), _ending(launcher), trio.open_nursery() as nursery:
        if config.trace.file:
            nursery.start_soon(TraceFile(config.state_folder / config.trace.file, config.trace, trace).run)
        executor.attach(nursery, gate, Mediation(machine, permission, gate.recorder))
        await ledger.boot()
        growth.booted(machine)
        nursery.start_soon(ledger.run)
        await devices.boot(nursery)
        await contexts.boot()
        await machine.shelves.boot()
        await requests.boot()
        nursery.start_soon(_expire, processes.capabilities, clock_)
        nursery.start_soon(contexts.run)
        nursery.start_soon(machine.shelves.run)
        nursery.start_soon(alarms.run)
        nursery.start_soon(package_use.run)
        plugins.attach(nursery, gate, init)
        trace.event("boot", pid=init.pid, version=VERSION)
        for each in extensions.loaded:
            trace.event("extension_loaded", extension=each.extension, trust=each.record)
        try:
            yield Running(machine, gate, init)
        finally:
            with trio.CancelScope(shield=True):
                await stop_programs(machine)
                nursery.cancel_scope.cancel()


async def _start_host(packages: Packages, start: StartHost, driver: str, log_file: Path) -> HostProcess:
    """A driver of a package runs on what that package brings; all others on kernos's own environment."""
    found = packages.driver(driver)
    return await start(driver, log_file) if found is None else await start_child(found[0], log_file, site=found[1])


@asynccontextmanager
async def _kept(ledger: Ledger, package_use: PackageUse, trace: Trace) -> AsyncIterator[None]:
    """At the very end, when all work is settled, the accounts are written, and what packages used."""
    try:
        yield
    finally:
        package_use.keep()
        with trio.CancelScope(shield=True):
            try:
                await ledger.close()
            except SyscallError as failed:
                trace.event("ledger_failed", error=failed)


@asynccontextmanager
async def _ending(launcher: Launcher) -> AsyncIterator[None]:
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await launcher.aclose()


async def _expire(capabilities: Capabilities, clock_: Clock) -> None:
    """Ends capabilities when their time is over, with the calls that they let in."""
    while True:
        sooner = trio.Event()
        capabilities.sooner = sooner.set
        with trio.move_on_after(max(capabilities.next_deadline_s - clock_.now(), 0.0)):
            await sooner.wait()
        capabilities.expire()


def _unread(trace: Trace, name: str, why: str) -> None:
    trace.event("package_unread", package=name, error=why)


async def serve(config: Config, *, ready_fd: int | None = None, parent: int = 0) -> None:
    """A kernel on its socket until SIGINT, SIGTERM, kernel.shutdown or, if one is named, the end of its parent. Raises
    SyscallError if it cannot start."""
    async with trio.open_nursery() as nursery:
        switch = Switch()
        await nursery.start(switch.watch)
        if parent and sys.platform != "linux":  # there the system tells it
            nursery.start_soon(switch.follow, parent)
        await _serve(config, switch, ready_fd)
        nursery.cancel_scope.cancel()


async def _serve(config: Config, switch: Switch, ready_fd: int | None) -> None:
    state = config.state_folder
    truth = Truth.open(state / FILE)
    governor = Governor()
    try:
        seals = Seals(state / "keys")
        async with machine_up(
            config,
            truth=truth,
            seals=seals,
            make_launcher=lambda trace: choose_launcher(config, governor, state_folder=state, trace=trace),
            wall=time.time,
            breaker=Interrupter.made(),
        ) as running:
            switch.attach(running.machine)
            await _until_told(running, config, ready_fd, governor)
    finally:
        truth.close()


async def _until_told(running: Running, config: Config, ready_fd: int | None, governor: Governor) -> None:
    machine = running.machine
    sessions = Sessions(machine, running.gate, running.init)
    door = Door(machine, sessions, Guests(machine, sessions))
    listening = bind(config.listen.address) if config.listen.address else None
    async with trio.open_nursery() as nursery:
        await nursery.start(door.listen, config.socket_file)
        nursery.start_soon(governor.run)
        if listening is not None:
            nursery.start_soon(Gateway(machine, sessions, listening).run)
        _settle_memory()
        _say(ready_fd, "ready\n")
        await machine.power.wait()
        await stop_programs(machine)
        await sessions.farewell()
        nursery.cancel_scope.cancel()


def _settle_memory() -> None:
    """What boot has made stays: it is not looked through for garbage again. And a kernel that holds ten thousand
    processes makes few cycles, so that it is looked for less often than a script's."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD, 20, 20)


def _say(ready_fd: int | None, line: str) -> None:
    """Tells whoever started the kernel; nobody may be there any more."""
    if ready_fd is None:
        return
    with contextlib.suppress(OSError):
        os.write(ready_fd, line.encode())
        os.close(ready_fd)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m kernel.boot", description="Runs a kernos kernel in the foreground."
    )
    parser.add_argument("--config", type=Path, help="kernos.toml")
    parser.add_argument("--socket", help="where clients connect")
    parser.add_argument("--state", help="the folder of the truth, keys and logs")
    parser.add_argument("--packages", help="the folder of installed packages; default: in the state folder")
    parser.add_argument("--model", help="default model: a folder, a hub name or an http(s) URL")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where clients from elsewhere connect, over TLS 1.3")
    parser.add_argument("--ephemeral", action="store_true", help="end with the parent; keep no state")
    parser.add_argument("--ready-fd", type=int, help="write 'ready' here once calls are answered")
    return parser.parse_args(argv)


def _configured(args: argparse.Namespace) -> Config:
    config = configuration.load(args.config)
    changes: dict[str, object] = {}
    if args.socket:
        changes["socket"] = args.socket
    if args.state:
        changes["state"] = args.state
    if args.packages:
        changes["packages"] = args.packages
    if args.listen:
        changes["listen"] = msgspec.structs.replace(config.listen, address=args.listen)
    if args.model:
        name = args.model.rstrip("/").rpartition("/")[2].replace(":", "-") or "model"
        changes["models"] = {**config.models, name: ModelConfig(origin=args.model)}
        changes["default_model"] = name
    return msgspec.structs.replace(config, **changes)


def _die_with_parent() -> int:
    """By a signal of the system where there is such; elsewhere the machine looks: see Switch.follow."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)
    return parent


def _boot(args: argparse.Namespace, parent: int = 0) -> int:
    try:
        _raise_limit_of_files()
        config = _configured(args)
        trio.run(lambda: serve(config, ready_fd=args.ready_fd, parent=parent))
    except (SyscallError, configuration.ConfigError) as failed:
        return _failed(args, str(failed))
    except BaseExceptionGroup as group:
        refused, other = group.split(SyscallError)
        if other is not None or refused is None:
            raise
        return _failed(args, str(first(refused)))
    return 0


def _raise_limit_of_files() -> None:
    """Each worker takes a few descriptors, and what a shell allows is soon used up."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _FILES_MAX) if hard > 0 else _FILES_MAX, hard))


def _failed(args: argparse.Namespace, why: str) -> int:
    print(f"kernos: {why}", file=sys.stderr)
    _say(args.ready_fd, f"failed: {why}\n")
    return 125


def main(argv: list[str] | None = None) -> int:
    """Boots and runs; the exit status is 0, or 125 when the kernel could not start."""
    args = _parse(sys.argv[1:] if argv is None else argv)
    if not args.ephemeral:
        return _boot(args)
    parent = _die_with_parent()
    with tempfile.TemporaryDirectory(prefix="kernos-") as folder:
        args.state = args.state or folder
        args.socket = args.socket or f"{folder}/kernel.sock"
        return _boot(args, parent)


if __name__ == "__main__":
    sys.exit(main())

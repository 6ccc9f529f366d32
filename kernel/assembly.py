"""The machine put together, one line a subsystem, brought up in order, and taken down."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import final

import trio

from kernel.accounts.account import Accounts
from kernel.clock import Clock
from kernel.config import Config
from kernel.derivation import Capabilities
from kernel.device import Registry
from kernel.extension import Extensions, load_extensions
from kernel.families import handlers
from kernel.gate import Gate
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
from kernel.permission import OPERATOR, Permission
from kernel.power import stop_programs
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.requests import Requests
from kernel.scheduler import Scheduler
from kernel.seal import Seals
from kernel.shelves import Shelves
from kernel.sys import growth, plugin
from kernel.truth import Truth
from kernel.version import VERSION
from kernel.watch.trace import Trace
from kernel.watch.trace_file import TraceFile
from kernel.watchdog import Interrupter, Watch
from kernel.workers.exec import Executor
from kernel.workers.launch import Launcher
from kernel.workers.plugins import Plugins
from syscalls.errors import SyscallError
from syscalls.signals import Signal


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
    clock = Clock(wall, ticks=None if wall is None else time.perf_counter)
    trace = Trace(clock, config.bounds.trace_records_max, bytes_max=config.bounds.trace_bytes_max, config=config.trace)
    packages = Packages(config.packages_folder, tell=partial(_unread, trace))
    extensions = _extensions(config, packages, clock, trace, breaker)
    launcher = make_launcher(trace)
    starts = partial(_start_host, packages, start_host)
    async with _ending(launcher):
        machine = _assemble(config, clock, trace, truth, seals, packages, extensions, launcher, starts)
        permission = Permission(
            processes=machine.processes, contexts=machine.contexts, models=machine.devices, accounts=machine.roster
        )
        gate = Gate(machine, permission, handlers(), further=plugin.serve)
        init = machine.processes.add(
            parent=None, principal="kernel", kind="session", name="kernos", account=machine.ledger.root,
            rights=OPERATOR, limits=config.worker_limits,
        )  # fmt: skip
        async with _kept(machine), trio.open_nursery() as nursery:
            machine.executor.attach(nursery, gate, Mediation(machine, permission, gate.recorder))
            await _start(machine, nursery)
            machine.plugins.attach(nursery, gate, init)
            trace.event("boot", pid=init.pid, version=VERSION)
            for each in extensions.loaded:
                trace.event("extension_loaded", extension=each.extension, trust=each.record)
            try:
                yield Running(machine, gate, init)
            finally:
                with trio.CancelScope(shield=True):
                    await stop_programs(machine)
                    nursery.cancel_scope.cancel()


def _extensions(
    config: Config, packages: Packages, clock: Clock, trace: Trace, breaker: Interrupter | None
) -> Extensions:
    def disabled(kind: str, name: str, why: str) -> None:
        trace.event("extension_disabled", what=kind, name=name, why=why)

    watch = Watch(clock, bound_s=config.bounds.policy_s, tell=disabled, breaker=breaker)
    return load_extensions(config, packages, watch)


def _assemble(
    config: Config,
    clock: Clock,
    trace: Trace,
    truth: Truth,
    seals: Seals,
    packages: Packages,
    extensions: Extensions,
    launcher: Launcher,
    start_host: StartHost,
) -> Machine:
    """Every subsystem, and who is told of what: nothing runs yet."""
    bounds = config.bounds
    accounts = Accounts(clock.now)
    ledger = Ledger(config=config, truth=truth, accounts=accounts, trace=trace)
    processes = ProcessTable(clock=clock, trace=trace, processes_max=bounds.processes_max)
    scheduler = Scheduler(clock, queue_max=bounds.queue_max, policy=extensions.scheduling(config.scheduling))
    devices = Registry(
        config=config, trace=trace, truth=truth, accounts=accounts, source=extensions.source, start_host=start_host
    )
    contexts = Contexts(
        bounds=bounds, clock=clock, trace=trace, truth=truth, seals=seals, devices=devices, accounts=accounts,
        ledger=ledger,
    )  # fmt: skip
    pipes = Pipes(pipes_max=bounds.pipes_max)
    executor = Executor(
        config=config, clock=clock, trace=trace, accounts=accounts, processes=processes, contexts=contexts,
        launcher=launcher, pipes=pipes, packages=packages,
    )  # fmt: skip
    plugins = Plugins(
        config, packages=packages, clock=clock, trace=trace, tools=devices.tools, processes=processes, launcher=launcher
    )
    alarms = Alarms(clock=clock, ring=lambda whose: executor.signal(whose, Signal.ALRM), alarms_max=bounds.alarms_max)
    handles = Handles(each_max=bounds.device_handles_max)
    package_use = PackageUse(packages, clock)
    processes.at_start += [package_use.began]
    processes.at_end += [pipes.release, alarms.release, handles.release]
    accounts.on_limit = executor.over_limit
    return Machine(
        config=config,
        clock=clock,
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
        topics=Topics(bytes_max=bounds.mailbox_bytes_max),
        alarms=alarms,
        handles=handles,
        requests=Requests(config.requests, clock=clock, trace=trace, truth=truth, seals=seals, processes=processes),
        plugins=plugins,
        package_use=package_use,
        extensions=extensions,
        evictor=Evictor(extensions.eviction(config.eviction)),
        shelves=Shelves(accounts=accounts, ledger=ledger, truth=truth, devices=devices, trace=trace),
    )


async def _start(machine: Machine, nursery: trio.Nursery) -> None:
    """What lies on disk is read, in the order in which one needs the other; then what goes on by itself begins."""
    config, trace = machine.config, machine.trace
    if config.trace.file:
        nursery.start_soon(TraceFile(config.state_folder / config.trace.file, config.trace, trace).run)
    await machine.ledger.boot()
    growth.booted(machine)
    nursery.start_soon(machine.ledger.run)
    await machine.devices.boot(nursery)
    await machine.contexts.boot()
    await machine.shelves.boot()
    await machine.requests.boot()
    nursery.start_soon(_expire, machine.processes.capabilities, machine.clock)
    nursery.start_soon(machine.contexts.run)
    nursery.start_soon(machine.shelves.run)
    nursery.start_soon(machine.alarms.run)
    nursery.start_soon(machine.package_use.run)


async def _start_host(packages: Packages, start: StartHost, driver: str, log_file: Path) -> HostProcess:
    """A driver of a package runs on what that package brings; all others on kernos's own environment."""
    found = packages.driver(driver)
    return await start(driver, log_file) if found is None else await start_child(found[0], log_file, site=found[1])


@asynccontextmanager
async def _kept(machine: Machine) -> AsyncIterator[None]:
    """At the very end, when all work is settled, the accounts are written, and what packages used."""
    try:
        yield
    finally:
        machine.package_use.keep()
        with trio.CancelScope(shield=True):
            try:
                await machine.ledger.close()
            except SyscallError as failed:
                machine.trace.event("ledger_failed", error=failed)


@asynccontextmanager
async def _ending(launcher: Launcher) -> AsyncIterator[None]:
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await launcher.aclose()


async def _expire(capabilities: Capabilities, clock: Clock) -> None:
    """Ends capabilities when their time is over, with the calls that they let in."""
    while True:
        sooner = trio.Event()
        capabilities.sooner = sooner.set
        with trio.move_on_after(max(capabilities.next_deadline_s - clock.now(), 0.0)):
            await sooner.wait()
        capabilities.expire()


def _unread(trace: Trace, name: str, why: str) -> None:
    trace.event("package_unread", package=name, error=why)

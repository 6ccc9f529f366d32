"""The machine: every subsystem by name, made at boot in order, handed to the system calls."""

from typing import final

import trio

from kernel.accounts.account import Accounts
from kernel.admission import Admissions
from kernel.clock import Clock
from kernel.config import Config
from kernel.device import Registry
from kernel.extension import Extensions
from kernel.handles import Handles
from kernel.ledger import Ledger
from kernel.messages.alarm import Alarms
from kernel.messages.pipe import Pipes
from kernel.messages.topic import Topics
from kernel.mm.contexts import Contexts
from kernel.mm.eviction import Evictor
from kernel.package_use import PackageUse
from kernel.process_table import ProcessTable
from kernel.requests import Requests
from kernel.roster import Roster
from kernel.scheduler import Scheduler
from kernel.shelves import Shelves
from kernel.truth import Truth
from kernel.watch.klog import Klog
from kernel.watch.metrics import Metrics
from kernel.watch.trace import Trace
from kernel.workers.exec import Executor
from kernel.workers.plugins import Plugins


@final
class Machine:
    """State has one owner each; this only says who. `power` is set when the machine is to stop, `hurry` when nobody
    will wait for the grace time any more. `listening` is the gateway's address, "" where there is none."""

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        trace: Trace,
        truth: Truth,
        accounts: Accounts,
        ledger: Ledger,
        scheduler: Scheduler,
        processes: ProcessTable,
        devices: Registry,
        contexts: Contexts,
        executor: Executor,
        pipes: Pipes,
        topics: Topics,
        alarms: Alarms,
        handles: Handles,
        requests: Requests,
        plugins: Plugins,
        package_use: PackageUse,
        extensions: Extensions,
        evictor: Evictor,
        shelves: Shelves,
    ) -> None:
        self.config = config
        self.clock = clock
        self.trace = trace
        self.truth = truth
        self.accounts = accounts
        self.ledger = ledger
        self.roster = Roster(ledger, processes)
        self.klog = Klog(trace, config.bounds)
        self.metrics = Metrics()
        self.scheduler = scheduler
        self.processes = processes
        self.devices = devices
        self.contexts = contexts
        self.executor = executor
        self.pipes = pipes
        self.topics = topics
        self.alarms = alarms
        bounds = config.bounds
        self.admissions = Admissions(
            clock.now,
            tickets_max=bounds.tickets_max,
            ticket_s=bounds.handshake_s,
            guests_max=bounds.guests_max,
            guests_each_max=bounds.guests_each_max,
        )
        self.listening = ""
        self.handles = handles
        self.requests = requests
        self.plugins = plugins
        self.package_use = package_use
        self.extensions = extensions
        self.evictor = evictor
        self.shelves = shelves
        self.power = trio.Event()
        self.hurry = trio.Event()
        self.grace_s = config.bounds.grace_s

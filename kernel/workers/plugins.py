"""Plugins: the tools that there are, and the system calls and parsers of installed packages, which come and go."""

import importlib.metadata
from typing import final

import trio
from msgspec import Struct

from kernel.clock import Clock
from kernel.config import Config, ToolConfig
from kernel.link import Entrance
from kernel.packages import Package, Packages
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.watch.trace import Trace
from kernel.workers.launch import Launcher
from kernel.workers.lone import Home, Seats
from kernel.workers.parsers import Parsers
from kernel.workers.tool import Tool
from syscalls.calls.plugin import PLUGIN_NUMBERS, plugin_row
from syscalls.errors import NotFound
from syscalls.package import Manifest
from syscalls.row import Row
from syscalls.turns import ToolSpec
from syscalls.worker_limits import CallLimits, least

TOOLS_GROUP = "kernos.tools"


@final
class _Wanted(Struct, frozen=True):
    """A tool as it should be: when any of this changes, it is another."""

    config: ToolConfig
    package: str = ""
    site: str = ""
    manifest: Manifest | None = None


@final
class Served:
    """A system call of a package, and the worker that serves it: one for all that the package names of a module."""

    def __init__(self, row: Row, package: Package, tool: Tool) -> None:
        self.row = row
        self.package = package.name
        self.version = package.record.manifest.version
        self.tool = tool

    async def spec(self) -> ToolSpec:
        """What it takes, as its worker says. Raises why that cannot be had, NotFound (ENOENT) where the function is not
        there."""
        await self.tool.describe()
        name = self.row.name.partition(".")[2]
        same = [spec for spec in self.tool.methods if spec.name.replace("_", "-") == name.replace("_", "-")]
        if not same and len(self.tool.methods) == 1:
            same = list(self.tool.methods)
        if not same:
            known = ", ".join(spec.name for spec in self.tool.methods) or "none"
            raise NotFound(f"{self.row.name}: {self.tool.program} has no such function; it has: {known}")
        return same[0]


@final
class Plugins:
    """Keeps `tools`, the registry's, and the system calls and `parsers` of packages, as the configuration and the
    installed packages say."""

    def __init__(
        self,
        config: Config,
        *,
        packages: Packages,
        clock: Clock,
        trace: Trace,
        tools: dict[str, Tool],
        processes: ProcessTable,
        launcher: Launcher,
    ) -> None:
        self._config = config
        self._packages = packages
        self._clock = clock
        self._trace = trace
        self._tools = tools
        self._processes = processes
        self._launcher = launcher
        self.own_workers = Seats(config.bounds.own_workers_max)
        self.parsers = Parsers(config.bounds, packages=packages, trace=trace)
        self._nursery: trio.Nursery | None = None
        self._gate: Entrance | None = None
        self._init: Process | None = None
        self._served: dict[str, tuple[_Wanted, trio.CancelScope]] = {}
        self._workers: dict[tuple[str, str], tuple[_Wanted, Tool, trio.CancelScope]] = {}
        self._calls: dict[str, Served] = {}
        self._numbers: dict[str, int] = {}

    def attach(self, nursery: trio.Nursery, gate: Entrance, init: Process) -> None:
        """Boot's last step: where their supervisors live. The tools are there from now on."""
        self._nursery, self._gate, self._init = nursery, gate, init
        self.parsers.attach(Home(gate, self._processes, init, self._launcher, self._config.bounds, self._clock))
        self._follow()

    def find(self, package: str) -> Package | None:
        """An installed package by name."""
        return self._packages.find(package)

    def all(self) -> list[Package]:
        """The installed packages, by name."""
        return self._packages.all()

    def calls(self) -> list[Served]:
        """The system calls of packages, by name."""
        return [self._calls[name] for name in sorted(self._calls)]

    def call(self, name: str) -> Served:
        """One of them. Raises NotFound (ENOENT) where its package has just gone."""
        if name not in self._calls:
            raise NotFound(f"{name} is gone: its package was removed")
        return self._calls[name]

    def row(self, key: int | str) -> Row | None:
        """The row of a package's call by its name or number, None for what is none."""
        if isinstance(key, str):
            return self._calls[key].row if key in self._calls else None
        return next((each.row for each in self._calls.values() if each.row.number == key), None)

    def look(self) -> dict[str, tuple[Package, Package | None]]:
        """Reads the records again. Tools that are gone or are others now end, with the calls they serve. Returns what
        the packages were that are gone or hold other rights now, and what they are."""
        before = {package.name: package for package in self._packages.all()}
        self._packages.look()
        self._follow()
        after = {name: self._packages.find(name) for name in before}
        return {
            name: (package, now)
            for name, package in before.items()
            for now in [after[name]]
            if now is None or now.rights != package.rights
        }

    def _follow(self) -> None:
        wanted = self._wanted()
        for name, (served, scope) in tuple(self._served.items()):
            if wanted.get(name) != served:
                scope.cancel()
                self._tools.pop(name).retire()
                del self._served[name]
        for name, tool in wanted.items():
            if name not in self._served:
                self._serve(name, tool)
        self._follow_calls()
        self.parsers.follow()

    def _follow_calls(self) -> None:
        """One worker for each reference; a name keeps its number as long as this kernel lives."""
        wanted: dict[str, tuple[Package, _Wanted]] = {}
        for package in self._packages.all():
            for entry, program in package.record.manifest.syscalls.items():
                config = ToolConfig(program=program, rights=package.record.granted)
                wanted[f"{package.name}.{entry}"] = (
                    package,
                    _Wanted(config, package.name, package.site, package.record.manifest),
                )
        needed = {(worker.package, worker.config.program): worker for _, worker in wanted.values()}
        for key, (known, tool, scope) in tuple(self._workers.items()):
            if needed.get(key) != known:
                del self._workers[key]
                scope.cancel()
                tool.retire()
        self._calls = {}
        for name, (package, worker) in wanted.items():
            key = (worker.package, worker.config.program)
            if key not in self._workers:
                self._workers[key] = worker, *self._start(package.name, worker)
            number = self._numbers.setdefault(name, PLUGIN_NUMBERS[len(self._numbers) % len(PLUGIN_NUMBERS)])
            self._calls[name] = Served(plugin_row(name, number), package, self._workers[key][1])

    def _wanted(self) -> dict[str, _Wanted]:
        """Those of the environment, then those of kernos.toml; a package takes no name that one of them has."""
        found = importlib.metadata.entry_points(group=TOOLS_GROUP)
        wanted = {entry.name: _Wanted(ToolConfig(program=entry.value)) for entry in found}
        wanted |= {name: _Wanted(tool) for name, tool in self._config.tools.items()}
        for package in self._packages.all():
            for name, program in package.record.manifest.tools.items():
                if name in wanted:
                    self._trace.event("tool_hidden", tool=name, package=package.name)
                    continue
                config = ToolConfig(program=program, rights=package.record.granted)
                wanted[name] = _Wanted(config, package.name, package.site, package.record.manifest)
        return wanted

    def _serve(self, name: str, wanted: _Wanted) -> None:
        self._tools[name], scope = self._start(name, wanted)
        self._served[name] = wanted, scope

    def _start(self, name: str, wanted: _Wanted) -> tuple[Tool, trio.CancelScope]:
        """A worker whenever one is wanted."""
        assert self._nursery is not None, "attach comes first"
        tool = Tool(
            name, wanted.config, bounds=self._config.bounds, clock=self._clock, launcher=self._launcher,
            seats=self.own_workers,
            package=self._packages.find(wanted.package), limits=self._limits(name, wanted),
        )  # fmt: skip
        scope = trio.CancelScope()
        self._nursery.start_soon(self._supervise, tool, scope)
        return tool, scope

    def _limits(self, name: str, wanted: _Wanted) -> CallLimits:
        """Of each call: the operator's for this tool, its package and all tools, and the package's own word."""
        said = self._config.call_limits
        own = wanted.manifest.call_limits if wanted.manifest is not None else None
        return least(own, *(said.get(each) for each in ("*", name, wanted.package)))

    async def _supervise(self, tool: Tool, scope: trio.CancelScope) -> None:
        assert self._gate is not None and self._init is not None, "attach comes first"
        with scope:
            await tool.run(gate=self._gate, processes=self._processes, parent=self._init)

"""Plugins: the tools that there are, those of installed packages among them, which come and go."""

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
from kernel.workers.tool import Tool
from syscalls.package import Manifest

TOOLS_GROUP = "kernos.tools"


@final
class _Wanted(Struct, frozen=True):
    """A tool as it should be: when any of this changes, it is another."""

    config: ToolConfig
    package: str = ""
    site: str = ""
    manifest: Manifest | None = None


@final
class Plugins:
    """Keeps `tools`, the registry's, as the configuration and the installed packages say."""

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
        self._nursery: trio.Nursery | None = None
        self._gate: Entrance | None = None
        self._init: Process | None = None
        self._served: dict[str, tuple[_Wanted, trio.CancelScope]] = {}

    def attach(self, nursery: trio.Nursery, gate: Entrance, init: Process) -> None:
        """Boot's last step: where their supervisors live. The tools are there from now on."""
        self._nursery, self._gate, self._init = nursery, gate, init
        self._follow()

    def find(self, package: str) -> Package | None:
        """An installed package by name."""
        return self._packages.find(package)

    def all(self) -> list[Package]:
        """The installed packages, by name."""
        return self._packages.all()

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
        assert self._nursery is not None, "attach comes first"
        tool = Tool(
            name, wanted.config, bounds=self._config.bounds, clock=self._clock, launcher=self._launcher,
            package=self._packages.find(wanted.package),
        )  # fmt: skip
        scope = trio.CancelScope()
        self._tools[name] = tool
        self._served[name] = wanted, scope
        self._nursery.start_soon(self._supervise, tool, scope)

    async def _supervise(self, tool: Tool, scope: trio.CancelScope) -> None:
        assert self._gate is not None and self._init is not None, "attach comes first"
        with scope:
            await tool.run(gate=self._gate, processes=self._processes, parent=self._init)

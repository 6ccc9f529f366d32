"""A whole kernel in this process: truth and keys in memory, workers and hosts as tasks, one session to call from."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import msgspec
import trio
import trio.testing

from kernel import invariants
from kernel.assembly import Running, machine_up
from kernel.config import Bounds, Config, ModelConfig, NetConfig, ToolConfig
from kernel.link import KernelLink
from kernel.machine import Machine
from kernel.mount import private_root
from kernel.permission import OPERATOR
from kernel.process import Process
from kernel.truth import Truth
from kernos.testing.hosts import TaskHosts, TaskLauncher
from kernos.testing.seeded import keys
from syscalls.calls import kernel, process
from syscalls.calls.kernel import TraceRecord
from syscalls.calls.process import Exit, LogLine
from syscalls.errors import NoSuchProcess
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.duplex import Duplex, NoServer
from syscalls.peer import Peer
from syscalls.wire import Hello
from userland.link import run
from userland.printing import captured
from userland.sdk.child import Child, ChildFailed
from userland.sdk.door import Door
from userland.sdk.encoding import decode
from userland.sdk.program import Program
from userland.sdk.system import STDIN_TOPIC, Sys

MODEL = "sim"
PRINCIPAL = "test"


@final
class InProcess:
    """An async context manager. `machine` is the kernel's own, `sys` a session with all rights.

    `script` is what the model says (see `drivers/simulated/script.py`), `model` further options of the simulated
    model (`window`, `tokens_per_second`, …), `config` further keys of kernos.toml (`{"accounts": {"test": {"tokens":
    1000}}}`). `web` are the pages that there are to fetch (see `drivers/sites.py`), or the name of a driver: `fetch` is
    the real network, on which no virtual clock can be. `files` are what the private tree `~` holds at first. `programs`
    and `tools` are known by name besides the installed ones; page addresses follow from `seed`.
    """

    def __init__(
        self,
        *,
        script: Sequence[object] = (),
        model: Mapping[str, str] | None = None,
        programs: Mapping[str, Program] | None = None,
        tools: Mapping[str, str] | None = None,
        bounds: Bounds | None = None,
        web: Mapping[str, object] | str = "sites",
        net: NetConfig | None = None,
        files: Mapping[str, str | bytes] | None = None,
        seed: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._seed = seed
        self._programs: dict[str, Program] = {}
        self._names: dict[str, str] = {}
        for name, each in (programs or {}).items():
            self.know(each, name=name)
        self._folder = tempfile.TemporaryDirectory(prefix="kernos-test-")
        options = {**(model or {}), "script": json.dumps(list(script))}
        further = msgspec.convert(dict(config or {}), Config)
        self._config = Config(
            state=self._folder.name,
            models={MODEL: ModelConfig(origin="sim:", driver="sim", options=options)},
            embedding="sim",
            store="memory",
            file_threads=0,  # the virtual clock jumps past threads
            fetch=web if isinstance(web, str) else "sites",
            net=net or NetConfig(options={} if isinstance(web, str) else {"pages": json.dumps(dict(web))}),
            programs=self._names,
            tools={name: ToolConfig(program=ref) for name, ref in (tools or {}).items()},
            bounds=bounds or Bounds(),
            **{key: getattr(further, key) for key in config or {}},
        )
        for path, data in (files or {}).items():
            _put(private_root(self._config.state_folder, PRINCIPAL) / path, data)
        self._stack = AsyncExitStack()
        self._running: Running | None = None
        self._hosts: TaskHosts | None = None
        self._sys: Sys | None = None

    @property
    def machine(self) -> Machine:
        assert self._running is not None, "use it as: async with up() as machine"
        return self._running.machine

    @property
    def hosts(self) -> TaskHosts:
        """The driver hosts that were started, and what each counted."""
        assert self._hosts is not None, "use it as: async with up() as machine"
        return self._hosts

    @property
    def sys(self) -> Sys:
        assert self._sys is not None, "use it as: async with up() as machine"
        return self._sys

    def know(self, program: Program, *, name: str | None = None) -> str:
        """Makes a decorated function an installed program; its name."""
        known = name or program.name
        ref = f"in-process:{known}"
        self._programs[ref] = program
        self._programs[program.ref] = program
        self._names[known] = ref
        return known

    async def spawn(self, program: Program | str, *args: Any, **options: Any) -> Child:
        """As Sys.spawn, from the session; a decorated function is made known first."""
        name = self.know(program) if isinstance(program, Program) else program
        if isinstance(program, Program):
            options.setdefault("shared", program.shared)
            options.setdefault("tier", program.tier)
        return await self.sys.spawn(name, *args, **options)

    async def run(self, program: Program | str, *args: Any, stdin: Sequence[str] | None = None, **options: Any) -> Any:
        """Runs a program to its end and returns its value; raises ChildFailed. `stdin` are lines, then the end."""
        exit_ = await self.ended(await self.spawn(program, *args, **options), stdin=stdin)
        if exit_.status != "done":
            raise ChildFailed(exit_)
        return decode(exit_.value)

    async def ended(self, child: Child, *, stdin: Sequence[str] | None = None) -> Exit:
        """How a child ends, fed with lines meanwhile."""
        outcome: Exit
        async with trio.open_nursery() as nursery:
            if stdin is not None:
                nursery.start_soon(_type, child, stdin)
            outcome = await child.ended()
            nursery.cancel_scope.cancel()
        return outcome

    async def printed(self, pid: int, stream: str = "stdout") -> str:
        """What a process printed."""
        lines: list[LogLine] = []
        async for line in self.sys.stream("process.logs", process.Logs(pid=pid)):
            lines.append(line)
        return "".join(line.text for line in lines if line.stream == stream)

    async def trace(self) -> tuple[TraceRecord, ...]:
        """Everything that the kernel has recorded."""
        return tuple([record async for record in self.sys.stream("kernel.trace", kernel.Trace())])

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._folder.cleanup)
            truth = Truth.in_memory()
            stack.callback(truth.close)
            hosts = await stack.enter_async_context(trio.open_nursery())
            stack.callback(hosts.cancel_scope.cancel)
            self._hosts = TaskHosts(hosts)
            self._running = await stack.enter_async_context(
                machine_up(
                    self._config,
                    truth=truth,
                    seals=keys(Path(self._folder.name) / "keys", self._seed),
                    make_launcher=lambda trace: TaskLauncher(hosts, self._programs),
                    start_host=self._hosts,
                )
            )
            stack.callback(self._check)
            stack.enter_context(captured())
            self._sys = await self._session(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    def _check(self) -> None:
        invariants.check(self.machine)

    async def _session(self, stack: AsyncExitStack) -> Sys:
        """A session as the door makes it, over a memory stream instead of a socket."""
        running = self._running
        assert running is not None
        account = self.machine.accounts.open(
            self.machine.ledger.account("test"), name="session:test", principal=PRINCIPAL
        )
        session = self.machine.processes.add(
            parent=running.init, principal=PRINCIPAL, kind="session", name="test", account=account, rights=OPERATOR
        )
        ours, theirs = trio.testing.memory_stream_pair()
        served = KernelLink(theirs, running.gate, _Only(session), hello=Hello())
        link = Duplex(Peer(CLIENT_LIMITS, Hello()), ours, NoServer(), trio.Event)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(lambda: served.run(handshake_s=5.0))
        nursery.start_soon(run, link)
        return Sys(Door(link, 0), pid=session.pid)


def _put(path: Path, data: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


@final
class _Only:
    """Channel 0 is the session."""

    def __init__(self, process_: Process) -> None:
        self._process = process_

    def process_on(self, channel: int) -> Process | None:
        return self._process if channel == 0 else None


async def _type(child: Child, lines: Sequence[str]) -> None:
    try:
        for line in (*lines, None):
            await child.send(line, topic=STDIN_TOPIC)
    except NoSuchProcess:  # it has ended without reading all
        pass

"""Parsers of documents: of installed packages, each file in a worker of its own that can do nothing else.

A document may be hostile to its parser, and a parser to its documents. So no worker reads two: what one document made
of its parser is gone with it, and nothing of one reaches another, or another principal.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import final

import trio
from msgspec import Struct

from kernel.clock import Clock
from kernel.config import Config
from kernel.link import Entrance
from kernel.packages import Package, Packages
from kernel.panic import contain, first
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.watch.trace import Trace
from kernel.watch.tracetext import short
from kernel.workers.launch import Launcher, LaunchRequest
from kernel.workers.worker import WorkerHost
from syscalls import worker as abi
from syscalls.calls.process import Exit
from syscalls.errors import BrokenPipe, Errno, Invalid, IOFailed, NotFound, SyscallError, TimedOut
from syscalls.link.duplex import Duplex
from syscalls.parsing import DOCUMENT_BYTES_MAX, Parser
from syscalls.signals import Signal


@final
class Named(Struct, frozen=True):
    """A parser by the name that callers have for it, `PACKAGE.PARSER`."""

    name: str
    package: Package
    parser: Parser


@final
class Parsers:
    """Those of the packages as they were when last looked at."""

    def __init__(
        self,
        config: Config,
        *,
        packages: Packages,
        clock: Clock,
        trace: Trace,
        processes: ProcessTable,
        launcher: Launcher,
    ) -> None:
        self._bounds = config.bounds
        self._packages = packages
        self._clock = clock
        self._trace = trace
        self._processes = processes
        self._launcher = launcher
        self._gate: Entrance | None = None
        self._init: Process | None = None
        self._known: dict[str, Named] = {}
        self._seats: dict[int, trio.CapacityLimiter] = {}

    def attach(self, gate: Entrance, init: Process) -> None:
        """Boot's last step: whose workers they are."""
        self._gate, self._init = gate, init

    def follow(self) -> None:
        """Takes up what the records say now. No two are for the same files: the installer sees to it, and where records
        came otherwise the first package by name has them."""
        self._known = {}
        taken: dict[str, str] = {}
        for package in self._packages.all():
            for entry, parser in package.record.manifest.parsers.items():
                name = f"{package.name}.{entry}"
                other = next((taken[kind] for kind in parser.kinds if kind in taken), None)
                if other is not None:
                    self._trace.event("parser_hidden", parser=name, by=other)
                    continue
                taken |= dict.fromkeys(parser.kinds, name)
                self._known[name] = Named(name, package, parser)

    def all(self) -> list[Named]:
        """By name."""
        return [self._known[name] for name in sorted(self._known)]

    async def parse(self, caller: Process, name: str, file: str, data: bytes) -> str:
        """The text of a document. Raises NotFound (ENOENT), Invalid (EINVAL) for a document that is too large or that
        the parser refuses, TimedOut (ETIME), IOFailed (EIO) for a parser that fails, in one line whatever it says."""
        found = self._known.get(name)
        if found is None:
            raise NotFound(f"no parser {_line(name)!r}; there are: {', '.join(sorted(self._known)) or 'none'}")
        if len(data) > DOCUMENT_BYTES_MAX:
            raise Invalid(f"a document of {len(data)} bytes; parsers take {DOCUMENT_BYTES_MAX} at most: split it")
        bound_s = self._bounds.parse_s
        async with self._seat(caller):
            with trio.move_on_after(bound_s):
                return await self._parsed(caller, found, file, data)
        raise TimedOut(f"parser {name} was not done in {bound_s:g} s, and was ended (bounds.parse_s)")

    @asynccontextmanager
    async def _seat(self, caller: Process) -> AsyncIterator[None]:
        """One caller's documents wait for each other, and hold up nobody else's."""
        seats = self._seats.setdefault(caller.pid, trio.CapacityLimiter(self._bounds.parses_max))
        try:
            async with seats:
                yield
        finally:
            if not seats.borrowed_tokens and not seats.statistics().tasks_waiting:
                self._seats.pop(caller.pid, None)

    async def _parsed(self, caller: Process, found: Named, file: str, data: bytes) -> str:
        """From the birth of a worker to its end."""
        assert self._init is not None, "attach comes first"
        process = self._processes.add(
            parent=self._init, principal=caller.principal, kind="tool", name=found.name, account=caller.account,
            rights=(), package=found.package.name, limits=found.package.limited(self._init.limits),
        )  # fmt: skip
        process.tier = found.package.record.manifest.tier
        process.limiter = _Ended()
        texts: list[str] = []
        failed: SyscallError | None = None

        async def work(wire: Duplex) -> None:
            args = abi.Parse(
                program=found.parser.parse, data=data, file=file, text_bytes_max=self._bounds.parsed_bytes_max,
                packages=(found.package.site,),
            )  # fmt: skip
            parsed: abi.Parsed = await wire.call(abi.PARSE, args)
            texts.append(parsed.text)

        try:
            await self._live(process, work)
        except* BrokenPipe:
            failed = IOFailed(f"parser {found.name} died over {_line(file) or 'it'}")
        except* SyscallError as group:
            failed = _told(found.name, first(group))
        except* Exception as group:
            failed = IOFailed(f"the kernel failed in parser {found.name}: {contain(group)}")
        finally:
            if process.over:
                failed = IOFailed(f"parser {found.name} ran into a limit of its worker: {process.over}")
            status = "done" if texts and failed is None else "over_limit" if process.over else "failed"
            self._processes.ended(process, Exit(pid=process.pid, status=status, error=str(failed or "")))
        if failed is not None:
            raise failed
        if not texts:
            raise IOFailed(f"parser {found.name} died at the start")
        if len(texts[0].encode(errors="replace")) > self._bounds.parsed_bytes_max:
            raise IOFailed(f"parser {found.name} gave more than {self._bounds.parsed_bytes_max} bytes of text")
        return texts[0]

    async def _live(self, process: Process, work: Callable[[Duplex], Awaitable[None]]) -> None:
        assert self._gate is not None, "attach comes first"
        package = self._packages.find(process.package)
        folders = () if package is None else (package.site,)
        assert process.tier != "command", "a parser is no command"
        request = LaunchRequest(
            pid=process.pid, name=process.name, folders=folders, limits=process.limits, tier=process.tier
        )
        launched = await self._launcher.launch(request)
        worker = WorkerHost(process, launched, self._gate, bounds=self._bounds, clock=self._clock)
        try:
            await worker.serve(work)
        finally:
            process.over = process.over or worker.over


@final
class _Ended:
    """What becomes of a parser that prints too fast."""

    def over(self, process: Process, what: str) -> None:
        if not process.over:
            process.over = what
            if process.host is not None:
                process.host.deliver(Signal.KILL)


def _told(name: str, error: BaseException) -> SyscallError:
    """What a parser says is wrong, as one line of ours: it may say what it likes, so nothing of it is an errno to be
    acted on, but that the document is no good."""
    assert isinstance(error, SyscallError)
    said = _line(error.message)
    if error.errno is Errno.EINVAL:
        return Invalid(f"parser {name}: {said}")
    return IOFailed(f"parser {name} failed: {said}")


def _line(text: str) -> str:
    """What somebody else wrote, as printable characters, cut to a bound."""
    return "".join(char if char.isprintable() else "?" for char in short(text))

"""Parsers of documents: of installed packages, each file in a worker of its own that can do nothing else.

A document may be hostile to its parser, and a parser to its documents. So no worker reads two: what one document made
of its parser is gone with it, and nothing of one reaches another, or another principal.
"""

from typing import Final, final

import trio
from msgspec import Struct

from kernel.config import Bounds
from kernel.packages import Package, Packages
from kernel.process import Process
from kernel.watch.trace import Trace
from kernel.watch.tracetext import short
from kernel.workers.lone import Birth, Home, Seats, Use, in_own_worker
from syscalls import worker as abi
from syscalls.errors import BrokenPipe, Errno, Invalid, IOFailed, NotFound, OutcomeUnknown, SyscallError
from syscalls.link.duplex import Duplex
from syscalls.parsing import DOCUMENT_BYTES_MAX, Parser
from syscalls.worker_limits import CallLimits

BARE: Final = "a parser of documents holds no right, and is granted none"


@final
class Named(Struct, frozen=True):
    """A parser by the name that callers have for it, `PACKAGE.PARSER`."""

    name: str
    package: Package
    parser: Parser


@final
class Parsers:
    """Those of the packages as they were when last looked at."""

    def __init__(self, bounds: Bounds, *, packages: Packages, trace: Trace) -> None:
        self._bounds = bounds
        self._packages = packages
        self._trace = trace
        self._home: Home | None = None
        self._known: dict[str, Named] = {}
        self._reading: dict[trio.CancelScope, Named] = {}
        self._seats = Seats(bounds.parses_max)

    def attach(self, home: Home) -> None:
        """Boot's last step: where their workers live."""
        self._home = home

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
        for scope, named in self._reading.items():
            now = self._known.get(named.name)
            if now is None or (now.parser, now.package.site) != (named.parser, named.package.site):
                scope.cancel()

    def all(self) -> list[Named]:
        """By name."""
        return [self._known[name] for name in sorted(self._known)]

    async def parse(self, caller: Process, name: str, file: str, data: bytes) -> str:
        """The text of a document. Raises NotFound (ENOENT), Invalid (EINVAL) for a document that is too large or that
        the parser refuses, OverLimit (ELIMIT), IOFailed (EIO) for a parser that fails, in one line whatever it says."""
        found = self._known.get(name)
        if found is None:
            raise NotFound(f"no parser {_line(name)!r}; there are: {', '.join(sorted(self._known)) or 'none'}")
        if len(data) > DOCUMENT_BYTES_MAX:
            raise Invalid(f"a document of {len(data)} bytes; parsers take {DOCUMENT_BYTES_MAX} at most: split it")
        bytes_max, text = self._bounds.parsed_bytes_max, ""
        args = abi.Parse(
            program=found.parser.parse, data=data, file=file, text_bytes_max=bytes_max, packages=(found.package.site,)
        )

        async def use(wire: Duplex, process: Process) -> None:
            nonlocal text
            try:
                parsed: abi.Parsed = await wire.call(abi.PARSE, args)
            except BrokenPipe:
                raise
            except SyscallError as failed:
                raise _told(name, failed) from None
            if len(parsed.text.encode(errors="replace")) > bytes_max:
                raise IOFailed(f"parser {name} gave more than {bytes_max} bytes of text")
            text = parsed.text

        try:
            await self._in_turn(caller, found, use)
        except OutcomeUnknown:
            raise IOFailed(f"parser {name} died over {_line(file) or 'it'}") from None
        return text

    async def _in_turn(self, caller: Process, found: Named, use: Use) -> None:
        """Does `use` in a worker of its own when it is the caller's turn. Raises NotFound where the parser is taken
        away meanwhile: it ends at whatever it is at."""
        assert self._home is not None, "attach comes first"
        name, limits = found.name, CallLimits(wall_s=self._bounds.parse_s)
        scope = trio.CancelScope()
        self._reading[scope] = found
        try:
            with scope:
                async with self._seats.of(caller):
                    await in_own_worker(self._home, Birth(name, (), found.package, BARE), f"parser {name}", limits, use)
        finally:
            del self._reading[scope]
        if scope.cancelled_caught:
            raise NotFound(f"parser {name} was taken away, or is another now")


def _told(name: str, error: SyscallError) -> SyscallError:
    """What a parser says is wrong, as one line of ours: it may say what it likes, so nothing of it is an errno to be
    acted on, but that the document is no good."""
    said = _line(error.message)
    if error.errno is Errno.EINVAL:
        return Invalid(f"parser {name}: {said}")
    return IOFailed(f"parser {name} failed: {said}")


def _line(text: str) -> str:
    """What somebody else wrote, as printable characters, cut to a bound."""
    return "".join(char if char.isprintable() else "?" for char in short(text))

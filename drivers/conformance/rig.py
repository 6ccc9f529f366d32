"""A driver's host as a child of this process, and what the checks ask of it."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any, final

import msgspec
import trio
from msgspec import Raw, Struct

from syscalls import driver as abi
from syscalls.errors import SyscallError
from syscalls.limits import DRIVER_LIMITS
from syscalls.link.async_ import adopt
from syscalls.link.duplex import Duplex
from syscalls.turns import ToolSpec, Turn

CREDIT = 1 << 20
HANG_S = 120.0
"""A check that takes longer hangs; nothing is measured by it."""


@final
class Subject(Struct, frozen=True, kw_only=True):
    """What is tested: a driver, and what it is to open."""

    driver: str
    kind: abi.Kind
    origin: str
    options: dict[str, str] = {}


@final
class Said(Struct, frozen=True):
    """A generation as it was seen from outside."""

    finished: abi.Finished
    ids: tuple[int, ...]
    text: str


@final
class Rig:
    """One running host with one device open."""

    def __init__(self, subject: Subject, link: Duplex, process: "subprocess.Popen[bytes]") -> None:
        self.subject = subject
        self.link = link
        self.process = process
        self.opened = abi.Opened(device=0)

    async def open(self) -> abi.Opened:
        """Another device of the same origin."""
        subject = self.subject
        opened: abi.Opened = await self.link.call(
            abi.OPEN, abi.Open(kind=subject.kind, origin=subject.origin, options=subject.options)
        )
        return opened

    async def ledger(self) -> abi.Ledger:
        ledger: abi.Ledger = await self.link.call(abi.LEDGER, abi.Nothing())
        return ledger

    async def render(self, *turns: Turn, tools: tuple[ToolSpec, ...] = ()) -> abi.Rendered:
        args = abi.Render(device=self.opened.device, turns=turns, tools=tools)
        rendered: abi.Rendered = await self.link.call(abi.RENDER, args)
        return rendered

    async def request(self, *turns: Turn, sampling: abi.Sampling, tools: tuple[ToolSpec, ...] = ()) -> abi.Generate:
        """What to send to have `turns` answered: ids, or turns where the driver has no tokenizer."""
        device = self.opened.device
        if self.opened.counts == "bound":
            return abi.Generate(device=device, sampling=sampling, turns=turns, tools=tools)
        return abi.Generate(device=device, sampling=sampling, prompt=prompt_of(await self.render(*turns, tools=tools)))

    async def generate(self, request: abi.Generate) -> Said:
        """Sends it and takes every item."""
        items: list[Raw] = []
        finished: abi.Finished = await self.link.pour(abi.GENERATE, request, items.extend, credit=CREDIT)
        tokens = [msgspec.msgpack.decode(item, type=abi.Tokens) for item in items]
        ids = tuple(i for each in tokens for i in each.ids)
        return Said(finished, ids, "".join(each.text for each in tokens))

    async def say(self, *turns: Turn, sampling: abi.Sampling) -> Said:
        """`request` and `generate` in one."""
        return await self.generate(await self.request(*turns, sampling=sampling))

    async def begin(self, request: abi.Generate) -> abi.Tokens:
        """Generates until the first item and cancels."""
        async with self.link.stream(abi.GENERATE, request, credit=CREDIT) as stream:
            async for item in stream:
                first: abi.Tokens = item
                return first
        return abi.Tokens()

    async def error_of(self, row: Any, args: Any) -> SyscallError | None:
        """What the call is refused with; None where it is not."""
        try:
            await self.link.call(row, args)
        except SyscallError as refused:
            return refused
        return None


def prompt_of(rendered: abi.Rendered) -> tuple[int, ...]:
    """All ids of a rendering."""
    return rendered.head + tuple(i for segment in rendered.segments for i in segment) + rendered.tail


@contextlib.asynccontextmanager
async def host(subject: Subject) -> AsyncIterator[Rig]:
    """Starts the host of the subject's driver; it is killed and reaped at the end."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = _start(subject.driver, theirs.fileno())
    try:
        async with adopt(ours, limits=DRIVER_LIMITS) as link:
            yield Rig(subject, link, process)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_reap, process)


def _start(driver: str, fd: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "drivers.host", driver, "--fd", str(fd)]
    return subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL)


def _reap(process: "subprocess.Popen[bytes]") -> None:
    """Its link is closed, so it ends by itself; if not, it is made to."""
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def device(subject: Subject) -> AsyncIterator[Rig]:
    """A host with the subject's device open. Raises the driver's SyscallError when it refuses to open."""
    async with host(subject) as rig:
        rig.opened = await rig.open()
        yield rig

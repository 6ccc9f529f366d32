"""The context table: conversations, the handles by which processes know them, and what of them is on disk.

A conversation is in memory while somebody holds it, or a fork of it. One without a name ends with its last handle; one
with a name stays on disk, and the same name of the same principal opens what was appended before.
"""

import re
from typing import final

import msgspec
import trio

from kernel.account import Accounts
from kernel.clock import Clock
from kernel.config import Bounds
from kernel.mm import records
from kernel.mm.binder import Binder
from kernel.mm.conversation import Context
from kernel.mm.index import Indexer
from kernel.mm.library import Library
from kernel.ports import Devices, ModelPort
from kernel.process import Process
from kernel.seal import Seals
from kernel.trace import Trace
from kernel.truth import Truth
from syscalls.calls.context import ContextInfo, Open, Opened
from syscalls.errors import Busy, Invalid, NotFound, SyscallError, TryAgain

NAME = re.compile(r"(?!own$|\d+$)[\w.-]{1,100}")


@final
class _Handle:
    """A process' hold on a conversation."""

    __slots__ = ("context", "pid")

    def __init__(self, context: Context, pid: int) -> None:
        self.context = context
        self.pid = pid


@final
class Contexts:
    """All contexts of the machine. `boot` before anything else; `run` in the background, always."""

    def __init__(
        self,
        *,
        bounds: Bounds,
        clock: Clock,
        trace: Trace,
        truth: Truth,
        seals: Seals,
        devices: Devices,
        accounts: Accounts,
    ) -> None:
        self._bounds = bounds
        self._trace = trace
        self._truth = truth
        self._devices = devices
        self.library = Library(truth, seals)
        self.index = Indexer(
            truth=truth, library=self.library, devices=devices, accounts=accounts, clock=clock, trace=trace
        )
        self.binder = Binder(bounds=bounds, truth=truth, library=self.library, index=self.index)
        self._handles: dict[int, _Handle] = {}
        self._named: dict[tuple[str, str], Context] = {}
        self._opening = trio.Lock()
        self._next_handle = 1
        self._next_id = 1
        self._dead: list[Context] = []
        self._died = trio.Event()

    async def boot(self) -> None:
        """Sweeps up what the processes of an earlier life left. Raises IOFailed (EIO)."""
        self._next_id = 1 + await self._truth.commit(records.sweep)

    async def run(self) -> None:
        """Indexes pages, and drops the contexts of processes that have ended; for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.index.run)
            while True:
                while self._dead:
                    await self._bury(self._dead.pop())
                await self._died.wait()
                self._died = trio.Event()

    # Handles.

    def get(self, handle: int) -> Context:
        """The conversation of a handle. Raises NotFound (ENOENT)."""
        found = self._handles.get(handle)
        if found is None:
            raise NotFound(f"no context {handle}: open one with context.open")
        return found.context

    def names(self, context: int, process: Process) -> tuple[str, ...]:
        """The resource names by which `process` knows `context`. Raises NotFound (ENOENT)."""
        held = self.get(context)
        if self._handles[context].pid != process.pid:
            return (f"context:{context}",)
        own = ("context:own", f"context:{context}")
        return own if held.name is None else (*own, f"context:{held.name}")

    def model(self, context: int) -> str:
        """The name of the model that a conversation is with. Raises NotFound (ENOENT)."""
        return self.get(context).model

    async def open(self, process: Process, asked: Open) -> Opened:
        """A handle of `process` on a new conversation, or on the one it names.

        Raises NotFound (no such model), Invalid, TryAgain (too many contexts), Busy (open with another model).
        """
        self._admit()
        if asked.name is not None and not NAME.fullmatch(asked.name):
            raise Invalid(f"{asked.name!r} is no name for a context: letters, digits, '_', '.', '-', not digits alone")
        port = await self._devices.opened(asked.model or process.model)
        if asked.name is None:
            return self._hold(await self._create(process.principal, None, port, asked), process)
        async with self._opening:
            context = self._named.get((process.principal, asked.name))
            if context is None:
                context = await self._reopen(process.principal, asked.name, port, asked)
            elif port.name != context.model:
                raise Busy(f"context {asked.name} is open with {context.model}: close it there, or ask for that model")
            return self._hold(context, process)

    async def fork(self, process: Process, handle: int) -> Opened:
        """A second conversation that shares all turns so far. It shares whole pages: the parent's open one closes."""
        self._admit()
        parent = self.get(handle)
        async with parent.writing:
            await self.binder.close_pages(parent, len(parent.tail))
            shared = len(parent.refs())
            child = self._blank(parent.principal, None, parent.model, parent.window_tokens)
            child.tools, child.reserve_tokens = parent.tools, parent.reserve_tokens
            child.parent, child.shared, child.version, child.tail_first = parent, shared, parent.version, parent.turns
            await self._truth.commit(records.create(self._row(child)))
            parent.children += 1
            child.window = parent.window.copy()
        return self._hold(child, process)

    async def close(self, process: Process, handle: int) -> None:
        """Gives a handle back; an unnamed conversation that nobody holds is dropped with its pages."""
        context = self.get(handle)
        process.contexts.discard(handle)
        if self._let_go(handle):
            await self._drop(context)

    def release(self, process: Process) -> None:
        """The process has ended: its handles are given back; what was only its own is dropped soon."""
        for handle, held in tuple(self._handles.items()):
            if held.pid == process.pid and self._let_go(handle):
                self._dead.append(held.context)
        process.contexts.clear()
        self._died.set()

    def port(self, context: Context) -> ModelPort:
        """The port of the conversation's model."""
        return self._devices.model(context.model)

    # Facts.

    def info(self, handle: int) -> ContextInfo:
        """What `context.stat` tells."""
        context = self.get(handle)
        addresses = {ref.address for ref in context.refs()}
        return ContextInfo(
            context=handle,
            name=context.name or "",
            model=context.model,
            version=context.version,
            turns=context.turns,
            pages=len(addresses),
            resident_pages=len(addresses.intersection(context.window.pages())),
            resident_tokens=context.window.tokens,
            window_tokens=context.window_tokens,
            evictions=context.evictions,
            faults=context.faults,
            indexed=self.index.indexed(context.principal, addresses),
            refilled_tokens=context.refilled_tokens,
        )

    def sizes(self, process: Process) -> tuple[int, int]:
        """Tokens resident, and window, of the fullest context of `process`: for `ps`."""
        held = [self._handles[handle].context for handle in process.contexts if handle in self._handles]
        return max(((each.window.tokens, each.window_tokens) for each in held), default=(0, 0))

    def __len__(self) -> int:
        return len(self._handles)

    # Within.

    def _admit(self) -> None:
        if len(self._handles) >= self._bounds.contexts_max:
            raise TryAgain(f"{self._bounds.contexts_max} contexts are open: close one (contexts_max in kernos.toml)")

    def _hold(self, context: Context, process: Process) -> Opened:
        handle = self._next_handle
        self._next_handle += 1
        self._handles[handle] = _Handle(context, process.pid)
        context.handles += 1
        if context.name is not None:
            self._named[context.principal, context.name] = context
        process.contexts.add(handle)
        return Opened(context=handle, version=context.version, window_tokens=context.window_tokens, model=context.model)

    def _let_go(self, handle: int) -> bool:
        context = self._handles.pop(handle).context
        context.handles -= 1
        return self._unneeded(context)

    def _unneeded(self, context: Context) -> bool:
        """If nobody holds it: closed. A named one leaves memory, unless it is just being written; whether it is one
        that has to be dropped."""
        if context.handles or context.children or context.closed:
            return False
        if context.name is None:
            context.closed = True
        elif not context.writing.locked():
            context.closed = True
            self._named.pop((context.principal, context.name), None)
        return context.name is None

    async def _bury(self, context: Context) -> None:
        """Drops what a dead process left; a disk that fails costs only its space until the next boot."""
        try:
            await self._drop(context)
        except SyscallError as failed:
            self._trace.event("unswept", context=context.id, error=str(failed))

    async def _drop(self, context: Context) -> None:
        """Forgets a closed conversation, and those above it that only it kept alive."""
        doomed = [context]
        parent = context.parent
        while parent is not None:
            parent.children -= 1
            if not self._unneeded(parent):
                break
            doomed.append(parent)
            parent = parent.parent
        async with context.writing:
            gone = await self._truth.commit(records.drop([each.id for each in doomed], context.principal))
        self.index.forget(context.principal, gone)

    def _blank(self, principal: str, name: str | None, model: str, window_tokens: int) -> Context:
        context = Context(
            id=self._next_id,
            principal=principal,
            name=name,
            model=model,
            tools=(),
            reserve_tokens=0,
            window_tokens=window_tokens,
        )
        self._next_id += 1
        return context

    async def _create(self, principal: str, name: str | None, port: ModelPort, asked: Open) -> Context:
        context = self._blank(principal, name, port.name, port.opened.window_tokens)
        self._configure(context, asked)
        await self._truth.commit(records.create(self._row(context)))
        return context

    def _configure(self, context: Context, asked: Open) -> None:
        if not 1 <= asked.reserve_tokens < context.window_tokens:
            raise Invalid(
                f"reserve_tokens {asked.reserve_tokens}: at least 1 and less than the {context.window_tokens} tokens "
                f"of {context.model}'s window"
            )
        context.tools, context.reserve_tokens = asked.tools, asked.reserve_tokens

    def _row(self, context: Context) -> records.Row:
        settings = msgspec.msgpack.encode(records.Settings(context.tools, context.reserve_tokens))
        return records.Row(
            id=context.id,
            principal=context.principal,
            name=context.name,
            parent=None if context.parent is None else context.parent.id,
            shared=context.shared,
            version=context.version,
            model=context.model,
            settings=self.library.seal(context.principal, settings, f"context {context.id}"),
        )

    async def _reopen(self, principal: str, name: str, port: ModelPort, asked: Open) -> Context:
        """A named conversation from disk, or a new one."""
        stored = await self._truth.read(records.load(principal, name))
        if stored is None:
            context = await self._create(principal, name, port, asked)
        else:
            context = self._blank(principal, name, port.name, port.opened.window_tokens)
            context.id = stored.row.id
            self._configure(context, asked)
            await self.binder.restore(context, stored)
            row = self._row(context)
            await self._truth.commit(records.configure(context.id, context.model, row.settings))
        return context

"""The context table: conversations, the handles by which processes know them, and what of them is on disk.

A conversation is in memory while somebody holds it, or a fork of it. One without a name ends with its last handle; one
with a name stays on disk, and the same name of the same principal opens what was appended before.
"""

from contextlib import AbstractContextManager
from operator import attrgetter
from typing import final

import msgspec
import trio

from kernel.accounts.account import Accounts
from kernel.accounts.account_record import Account
from kernel.clock import Clock
from kernel.config import Bounds
from kernel.hosts.ports import Devices, ModelPort
from kernel.ledger import Ledger
from kernel.mm import records
from kernel.mm.binder import Binder
from kernel.mm.charges import Charges
from kernel.mm.conversation import Context
from kernel.mm.index import Indexer
from kernel.mm.library import Library
from kernel.mm.names import Names, check_name
from kernel.mm.packed import packed_tools
from kernel.process import Process
from kernel.seal import Seals
from kernel.truth import Truth
from kernel.watch.trace import Trace
from syscalls.calls.context import ContextInfo, Open, Opened, Saved
from syscalls.errors import Busy, Invalid, NotFound, SyscallError, TryAgain
from syscalls.turns import Turn, canonical


@final
class _Handle:
    """A process' hold on a conversation."""

    __slots__ = ("account", "context", "pid")

    def __init__(self, context: Context, process: Process) -> None:
        self.context = context
        self.pid = process.pid
        self.account = process.account


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
        ledger: Ledger,
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
        self.charges = Charges(accounts, ledger)
        self.named = Names(truth, self.index, self.charges)
        self._next_handle = 1
        self._next_id = 1
        self._dead: list[Context] = []
        self._died = trio.Event()

    async def boot(self) -> None:
        """Sweeps up what the processes of an earlier life left. Raises IOFailed (EIO)."""
        self._next_id = 1 + await self._truth.commit(records.sweep)
        self.charges.booted(await self._truth.read(records.kept_bytes))

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

        Raises NotFound (no such model), Invalid, TryAgain (too many contexts), Busy (open with another model),
        OverQuota (the account may have no more of them open).
        """
        self._admit()
        with self.charges.handle(process.account):
            return await self._opened(process, asked)

    async def _opened(self, process: Process, asked: Open) -> Opened:
        if asked.name is not None:
            check_name(asked.name)
        port = await self._devices.opened(asked.model or process.model)
        if asked.name is None:
            return self._hold(await self._create(process.principal, None, port, asked), process)
        async with self.named.changing:
            context = self.named.get(process.principal, asked.name)
            if context is None:
                context = await self._reopen(process.principal, asked.name, port, asked)
            elif port.name != context.model:
                raise Busy(f"context {asked.name} is open with {context.model}: close it there, or ask for that model")
            return self._hold(context, process)

    async def fork(self, process: Process, handle: int) -> Opened:
        """A second conversation that shares all turns so far. It shares whole pages: the parent's open one closes."""
        self._admit()
        with self.charges.handle(process.account):
            return await self._forked(process, self.get(handle))

    async def _forked(self, process: Process, parent: Context) -> Opened:
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

    async def save(self, process: Process, handle: int, name: str) -> Saved:
        """Gives the conversation a name. Raises Invalid, NotFound, Busy (another has it), OverQuota, IOFailed."""
        context = self.get(handle)
        await self._erase(self._parted(await self.named.give(context, name, process.account)))
        return Saved(name=name, version=context.version)

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

    def growing(self, context: Context, account: Account, turns: tuple[Turn, ...]) -> AbstractContextManager[None]:
        """Frames the writing of `turns`: see Charges. Raises OverQuota."""
        return self.charges.growing(context, account, len(canonical(turns)))

    # Facts.

    def info(self, handle: int) -> ContextInfo:
        """What `context.stat` tells."""
        context = self.get(handle)
        addresses = set(map(attrgetter("address"), context.refs()))  # of a hundred thousand, maybe, and nobody waits
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
            pinned_tokens=context.window.pinned_tokens,
        )

    def sizes(self, process: Process) -> tuple[int, int]:
        """Tokens resident, and window, of the fullest context of `process`: for `ps`."""
        fullest = (0, 0)
        for handle in process.contexts:
            if (held := self._handles.get(handle)) is not None:
                fullest = max(fullest, (held.context.window.tokens, held.context.window_tokens))
        return fullest

    def __len__(self) -> int:
        return len(self._handles)

    # Within.

    def _admit(self) -> None:
        if len(self._handles) >= self._bounds.contexts_max:
            raise TryAgain(f"{self._bounds.contexts_max} contexts are open: close one (contexts_max in kernos.toml)")

    def _hold(self, context: Context, process: Process) -> Opened:
        handle = self._next_handle
        self._next_handle += 1
        self._handles[handle] = _Handle(context, process)
        context.handles += 1
        self.named.enter(context)
        process.contexts.add(handle)
        return Opened(context=handle, version=context.version, window_tokens=context.window_tokens, model=context.model)

    def _let_go(self, handle: int) -> bool:
        held = self._handles.pop(handle)
        self.charges.handle_gone(held.account)
        context = held.context
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
            self.named.leave(context)
            self.charges.left(context)
        return context.name is None

    async def _bury(self, context: Context) -> None:
        """Drops what a dead process left; a disk that fails costs only its space until the next boot."""
        try:
            await self._drop(context)
        except SyscallError as failed:
            self._trace.event("unswept", context=context.id, error=str(failed))

    async def _drop(self, context: Context) -> None:
        """Forgets a closed conversation, and those above it that only it kept alive."""
        doomed = [context, *self._parted(context.parent)]
        async with context.writing:
            await self._erase(doomed)

    async def _erase(self, doomed: list[Context]) -> None:
        if doomed:
            principal = doomed[0].principal
            gone = await self._truth.commit(records.drop([each.id for each in doomed], principal))
            self.index.forget(principal, gone)
            for each in doomed:
                self.charges.gone(each)

    def _parted(self, parent: Context | None) -> list[Context]:
        """A fork of `parent` is gone: those of it and above that nobody needs any more."""
        doomed: list[Context] = []
        while parent is not None:
            parent.children -= 1
            if not self._unneeded(parent):
                break
            doomed.append(parent)
            parent = parent.parent
        return doomed

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
        context.tools, context.reserve_tokens = packed_tools(asked.tools), asked.reserve_tokens

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
            self.charges.reopened(context, stored.row.bytes)
            row = self._row(context)
            await self._truth.commit(records.configure(context.id, context.model, row.settings))
        return context

"""The names of conversations: who goes by which, in memory and on disk.

Pages belong to entries, not to contexts: a page goes with the last entry that names it, whichever context that is in.
"""

import re
from typing import final

import trio
from msgspec.structs import replace

from kernel.accounts.account_record import Account
from kernel.mm import records
from kernel.mm.charges import Charges
from kernel.mm.conversation import Context
from kernel.mm.index import Indexer
from kernel.truth import Truth
from syscalls.calls.context import Contexts, ListContexts, NamedContext
from syscalls.errors import Busy, Invalid, NotFound

NAME = re.compile(r"(?!own$|\d+$)[\w.-]{1,100}")
LIST_MAX = 1000


def check_name(name: str) -> str:
    """`name`, if a context can have it. Raises Invalid (EINVAL)."""
    if not NAME.fullmatch(name):
        raise Invalid(f"{name!r} is no name for a context: letters, digits, '_', '.', '-', not digits alone")
    return name


@final
class Names:
    """Names are per principal. `changing` is held by whoever opens, gives or forgets one."""

    def __init__(self, truth: Truth, index: Indexer, charges: Charges) -> None:
        self._truth = truth
        self._index = index
        self._charges = charges
        self._open: dict[tuple[str, str], Context] = {}
        self.changing = trio.Lock()

    def get(self, principal: str, name: str) -> Context | None:
        """The conversation in memory that goes by `name`."""
        return self._open.get((principal, name))

    def enter(self, context: Context) -> None:
        """It is in memory."""
        if context.name is not None:
            self._open[context.principal, context.name] = context

    def leave(self, context: Context) -> None:
        """It is on disk alone."""
        if context.name is not None:
            self._open.pop((context.principal, context.name), None)

    async def give(self, context: Context, name: str, account: Account) -> Context | None:
        """Names it, on disk and in memory. A fork becomes a conversation of its own: `account` pays for what it shared,
        and the parent that it leaves is returned. Raises Busy (EBUSY), NotFound (closed meanwhile), OverQuota,
        IOFailed."""
        check_name(name)
        async with self.changing, context.writing:
            if context.closed:
                raise NotFound("the context was closed meanwhile: open another")
            if context.name == name:
                return None
            if await self._truth.read(records.named(context.principal, name)) is not None:
                raise Busy(f"another context goes by the name {name}: choose another name, or forget that one")
            parent = context.parent
            own = None if parent is None else context.refs()
            shared = [ref.address for ref in (own or ())[: context.shared]]
            size = await self._truth.read(records.size_of_pages(context.principal, shared)) if shared else 0
            with self._charges.growing(context, account, size):
                saving = records.save(context.id, name, own, context.principal, context.stored_bytes)
                await self._truth.commit(saving)
            self.leave(context)
            context.name = name
            self.enter(context)
            if own is not None:
                context.pages, context.parent, context.shared = own, None, 0
            return parent

    async def list(self, principal: str, asked: ListContexts) -> Contexts:
        """Named conversations, in memory or not. Raises Invalid, IOFailed."""
        if not 1 <= asked.limit <= LIST_MAX:
            raise Invalid(f"a limit of {asked.limit}: 1 to {LIST_MAX} at once")
        found = await self._truth.read(records.all_named(principal, asked))
        shown = found[: asked.limit]
        return Contexts(
            contexts=tuple(self._with_handles(principal, each) for each in shown), more=len(found) > len(shown)
        )

    def _with_handles(self, principal: str, found: NamedContext) -> NamedContext:
        context = self.get(principal, found.name)
        return found if context is None else replace(found, handles=context.handles)

    async def forget(self, principal: str, name: str) -> None:
        """Drops a named conversation and the pages that are in no other. Raises NotFound, Busy, IOFailed."""
        async with self.changing:
            context = self.get(principal, name)
            if context is None:
                dropped, size = await self._drop(principal, name)
                self._charges.forgotten(dropped, principal, size)
                return
            async with context.writing:
                if context.handles or context.children:
                    held = f"{context.handles} handles and {context.children} forks"
                    raise Busy(f"context {name} is open ({held}): close them first")
                await self._drop(principal, name)
                self._charges.gone(context)
                context.closed = True
                self.leave(context)

    async def _drop(self, principal: str, name: str) -> tuple[int, int]:
        """From disk; its id, and how many bytes were paid for."""
        stored = await self._truth.read(records.named(principal, name))
        if stored is None:
            raise NotFound(f"no context of {principal} is called {name}: 'kernos context list' lists them")
        self._index.forget(principal, await self._truth.commit(records.drop([stored[0]], principal)))
        return stored

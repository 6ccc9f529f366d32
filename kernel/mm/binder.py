"""The binder: turns become pages here, on disk first and in memory after, and come back as a window.

A commit that fails (a full disk) leaves the conversation and its window as they were: it costs the call that met it,
and nothing else.
"""

from collections.abc import Sequence
from typing import final

from kernel.config import Bounds
from kernel.mm import records
from kernel.mm.conversation import Context
from kernel.mm.index import Indexer
from kernel.mm.library import PAGES_AT_ONCE, Library
from kernel.mm.packed import packed
from kernel.mm.page import BYTES_PER_TOKEN, Ref, Run, cut, join, pending, size_of, slices_of
from kernel.mm.window import Entry
from kernel.truth import Truth
from kernel.wait import slowly
from syscalls.calls.context import Append, Appended
from syscalls.errors import Busy, Invalid, NotFound
from syscalls.turns import Turn, canonical, parse_turns


@final
class Binder:
    """Writes conversations. Whoever calls what says so holds the context's `writing`."""

    def __init__(self, *, bounds: Bounds, truth: Truth, library: Library, index: Indexer) -> None:
        self._page_bytes_max = bounds.page_tokens_max * BYTES_PER_TOKEN
        self._low_water = bounds.low_water
        self._truth = truth
        self._library = library
        self._index = index

    async def append(self, context: Context, asked: Append) -> Appended:
        """Adds turns, durably. Raises Busy (another version than expected), Invalid, NotFound (closed), IOFailed."""
        if not all(turn.parts for turn in asked.turns):
            raise Invalid("a turn without parts: give it a text, a call or a result")
        async with context.writing:
            if asked.expect_version is not None and asked.expect_version != context.version:
                raise Busy(f"the context is at version {context.version}, not {asked.expect_version}: read it again")
            turns = tuple(map(packed, asked.turns))
            refs = await (self._shown if asked.resident else self._unshown)(context, turns)
            return Appended(version=context.version, pages=tuple(ref.address for ref in refs))

    async def answer(self, context: Context, turn: Turn) -> int:
        """Adds what a model said; returns the version."""
        async with context.writing:
            await self._shown(context, (packed(turn),))
            return context.version

    async def close_pages(self, context: Context, n: int) -> None:
        """Makes pages of the first `n` open turns. The caller holds `writing`."""
        if n and not context.closed:
            runs, _ = cut(context.tail[:n], bytes_max=self._page_bytes_max, flush=True)
            await self._write(context, runs, n, context.tail[n:])

    async def settle(self, context: Context) -> None:
        """Makes pages of all open turns, so that recall finds them; an exchange whose results are not in yet stays
        open, from the user's turn on. The caller holds `writing`."""
        n = len(context.tail)
        if pending(context.tail):
            n = max((at for at, turn in enumerate(context.tail) if turn.role == "user"), default=0)
        await self.close_pages(context, n)

    async def shelve(self, context: Context, leaving: Sequence[Entry]) -> None:
        """Sees to it that turns which are about to leave the window are in pages. The caller holds `writing`."""
        if any(entry.kind == "turn" and entry.position >= context.tail_first for entry in leaving):
            await self.close_pages(context, len(context.tail))

    async def restore(self, context: Context, stored: records.Stored) -> None:
        """Fills a blank context with what is on disk, and its window with the system turns it begins with and the
        newest turns, about as many as the low-water mark lets in."""
        context.version = stored.row.version
        context.pages = list(stored.refs)
        context.tail_first = sum(ref.turns for ref in stored.refs)
        for at, body in stored.tail:
            turns = parse_turns(self._library.unseal(context.principal, body, _place(context, at)))
            context.tail.extend(map(packed, turns))
        shown = [ref for ref in context.pages if ref.resident]
        head = [each for each in await self._turns_of(context, _chain_at(shown)) if each.turn.role == "system"]
        room = int(self._low_water * context.limit) * BYTES_PER_TOKEN
        room -= sum(map(size_of, context.tail)) + sum(entry.tokens for entry in head)
        newest: list[Entry] = []
        end = len(shown)
        while end and room > 0:
            chain = _chain_before(shown, end)
            entries = await self._turns_of(context, chain)
            newest[:0] = entries
            room -= sum(entry.tokens for entry in entries)
            end -= len(chain)
        first = newest[0].position if newest else context.tail_first
        context.window.entries = [entry for entry in head if entry.position < first] + newest
        context.window.gone_turns = sum(ref.turns for ref in shown) - len(context.window.entries)
        for at, turn in enumerate(context.tail):
            context.show(turn, position=context.tail_first + at)

    async def _turns_of(self, context: Context, chain: Sequence[Ref]) -> list[Entry]:
        """The turns of one page, or of one chain of parts, as the window has them."""
        if not chain:
            return []
        addresses = tuple(ref.address for ref in chain)
        pages = await self._library.pages(context.principal, addresses)
        turns = pages[addresses[0]] if len(chain) == 1 else (join([pages[each][0] for each in addresses]),)
        return [Entry(turn, position=chain[0].first + at, pages=addresses) for at, turn in enumerate(turns)]

    async def _shown(self, context: Context, turns: Sequence[Turn]) -> list[Ref]:
        """New turns that go through the window."""
        together = [*context.tail, *turns]
        first = context.turns
        runs, taken = cut(together, bytes_max=self._page_bytes_max, flush=False)
        return await self._write(context, runs, taken, together[taken:], show=(first, turns))

    async def _unshown(self, context: Context, turns: Sequence[Turn]) -> list[Ref]:
        """New turns that go to pages of their own, each; what is open is closed first."""
        await self.close_pages(context, len(context.tail))
        runs = [run for turn in turns for run in cut((turn,), bytes_max=self._page_bytes_max, flush=True)[0]]
        return await self._write(context, runs, len(turns), [], resident=False)

    async def _write(
        self,
        context: Context,
        runs: Sequence[Run],
        taken: int,
        rest: list[Turn],
        *,
        show: tuple[int, Sequence[Turn]] = (0, ()),
        resident: bool = True,
    ) -> list[Ref]:
        """Commits `runs`, which are the first `taken` of the open and the new turns, and `rest`, which stays open;
        then changes the conversation to match and shows new turns in the window."""
        pages = await self._pages(context, runs, resident)
        if context.closed:
            raise NotFound("the context was closed meanwhile: open another")
        known, tail_first = context.turns, context.tail_first + taken
        addition = records.Addition(
            context=context.id,
            principal=context.principal,
            version=context.version + tail_first + len(rest) - known,
            position=len(context.pages),
            pages=pages,
            tail_first=tail_first,
            stored_bytes=context.stored_bytes,
            tail=tuple(
                (at, self._library.seal(context.principal, canonical((turn,)), _place(context, at)))
                for at, turn in enumerate(rest, tail_first)
                if at >= known
            ),
        )
        await self._truth.commit(records.add(addition))
        refs = [ref for ref, _ in pages]
        context.version = addition.version
        context.pages.extend(refs)
        context.tail, context.tail_first = rest, tail_first
        for at, turn in enumerate(show[1], show[0]):
            context.show(turn, position=at)
        if resident:
            context.place(refs)
        self._index.note(context.principal, {ref.address: ref.slices for ref in refs})
        return refs

    async def _pages(self, context: Context, runs: Sequence[Run], resident: bool) -> tuple[tuple[Ref, bytes], ...]:
        """Each run's reference and sealed body; lets others run between."""
        pages: list[tuple[Ref, bytes]] = []
        first = context.tail_first
        async for run in slowly(runs, at_once=PAGES_AT_ONCE):
            address, body = self._library.bind(context.principal, run)
            slices = len(slices_of(run.turns))
            pages.append((Ref(address, first, run.counted, slices, run.part, run.parts, resident), body))
            first += run.counted
        return tuple(pages)


def _place(context: Context, at: int) -> str:
    """Where an open turn is kept."""
    return f"tail {context.id} {at}"


def _chain_at(refs: Sequence[Ref]) -> Sequence[Ref]:
    """The first page, with all parts if it begins a chain."""
    return refs[: refs[0].parts] if refs else ()


def _chain_before(refs: Sequence[Ref], end: int) -> Sequence[Ref]:
    """The page that ends at `end`, with all parts if it ends a chain."""
    return refs[end - refs[end - 1].parts : end]

"""Page faults: what a question asks for is found, read back from the truth, and shown in the window if asked."""

from collections.abc import Iterable
from typing import final

from msgspec import Struct

from kernel.machine import Machine
from kernel.mm.conversation import Context
from kernel.mm.index import vector_ids
from kernel.mm.page import Ref, size_of, text_of
from kernel.mm.recall import MORE_HITS, Scored, fuse, in_common, rank, scan, unite
from kernel.mm.window import Entry
from kernel.trap import Trap
from kernel.wait import slowly
from syscalls.calls.context import Passage, Recall, Recalled
from syscalls.errors import IOFailed, NoSyscall, NotFound, TryAgain
from syscalls.turns import Turn, tool

EMBED_TOKENS_MAX = 512
"""What is held for a question: embedding models read no more."""
QUERY_CHARS_MAX = 1 << 15
"""Of a question: each of its words is looked for in every page."""
K_MAX = 100
CANDIDATES_MIN = 8
WORDS_PAGES_MAX = 4096
"""Of a conversation with more pages, words are compared in those alone that are near in meaning."""
_AWAY = (NotFound, TryAgain, NoSyscall, IOFailed)
"""What a device that is missing or does not come back answers."""


@final
class Found(Struct, frozen=True):
    """A page that was found, as the turn that shows it, and what that takes."""

    address: str
    score: float
    turn: Turn
    tokens: int


async def recall(machine: Machine, trap: Trap, context: Context, asked: Recall) -> Recalled:
    """The passages nearest to the question, within `tokens_max`; with `page_in` those that are not resident are shown
    as tool turns. Every one that is not resident is a fault, in the trace and in the counts."""
    async with context.writing:
        await machine.contexts.binder.settle(context)
    order: dict[str, int] = {}
    async for at, ref in slowly(enumerate(context.refs())):
        order.setdefault(ref.address, at)
    ranked = await _ranked(machine, trap, context, asked, order)
    found = await _chosen(machine, context, asked, ranked)
    async with context.writing:
        resident = set(context.window.pages())
        missing = [each for each in found if each.address not in resident]
        if asked.page_in:
            for each in missing:
                entry = Entry(each.turn, kind="recall", pages=(each.address,))
                entry.tokens = each.tokens
                context.window.entries.append(entry)
    _count(machine, trap, context, missing)
    passages = tuple(
        Passage(
            page=each.address,
            text=each.turn.text,
            source=each.turn.source,
            score=each.score,
            resident=each.address in resident,
        )
        for each in found
    )
    return Recalled(passages=passages, faults=len(missing))


def _count(machine: Machine, trap: Trap, context: Context, missing: list[Found]) -> None:
    pid = trap.process.pid
    for each in missing:
        machine.trace.event("fault", pid=pid, page=each.address, source=each.turn.source, score=f"{each.score:.3f}")
    context.faults += len(missing)
    trap.process.faults += len(missing)
    trap.detail = f"{len(missing)} faults" + "".join(f"; {each.turn.source}" for each in missing)


async def _ranked(machine: Machine, trap: Trap, context: Context, asked: Recall, order: dict[str, int]) -> list[Scored]:
    """By meaning and by words in common; by words alone where there is nothing to embed with."""
    if not order:
        return []
    near: dict[str, float] | None = None
    try:
        near = await _near(machine, trap, context, asked, order)
    except _AWAY as away:
        machine.trace.event("recall_by_words", pid=trap.process.pid, error=str(away))
    among = order if near is None or len(order) <= WORDS_PAGES_MAX else near
    pages = await machine.contexts.library.pages(context.principal, tuple(among))
    shared = await in_common(asked.query, {address: text_of(turns) for address, turns in pages.items()})
    return rank(shared if near is None else fuse(near, shared), order)


async def _near(
    machine: Machine, trap: Trap, context: Context, asked: Recall, order: dict[str, int]
) -> dict[str, float]:
    """The pages nearest in meaning. Raises what the devices raise when they are away."""
    index = machine.contexts.index
    query = await _embed(machine, trap, asked.query)
    scores = await scan(query, await index.vectors(context.principal, order))
    shelf = index.shelf(context.principal)
    stored = {address async for address in slowly(order) if address in shelf.done and address not in scores}
    if stored:
        everything = len(stored) == len(shelf.done)
        only = None if everything else await _vectors_of(context.refs(), stored)
        hits = await machine.devices.store().query(shelf.collection, query, asked.k * MORE_HITS, only=only)
        scores = unite(scores, hits.ids, hits.scores)
    return scores


async def _vectors_of(refs: Iterable[Ref], wanted: set[str]) -> tuple[str, ...]:
    """The ids of the vectors of those pages, each once."""
    slices = {ref.address: ref.slices async for ref in slowly(refs) if ref.address in wanted}
    return tuple([each async for page in slowly(slices.items()) for each in vector_ids(*page)])


async def _embed(machine: Machine, trap: Trap, text: str) -> bytes:
    """The question's vector; what it costs is the caller's."""
    accounts, port = machine.accounts, machine.devices.embedding()
    hold = accounts.hold(trap.process.account, accounts.worst(port.name, min(EMBED_TOKENS_MAX, len(text.encode()) + 2)))
    used = 0
    try:
        embedded = await port.embed((text,))
        used = embedded.tokens
    finally:
        accounts.settle(hold, accounts.cost(port.name, used), model=port.name)
    return embedded.vectors


async def _chosen(machine: Machine, context: Context, asked: Recall, ranked: list[Scored]) -> list[Found]:
    """The best `k` that fit `tokens_max` together; what does not fit is passed over for what does."""
    candidates = ranked[: max(CANDIDATES_MIN, 2 * asked.k)]
    pages = await machine.contexts.library.pages(context.principal, [each.address for each in candidates])
    turns = {address: turn_of(address, page) for address, page in pages.items()}
    counts = await counted(machine, context, tuple(turns.values()))
    tokens = dict(zip(turns, counts, strict=True))
    chosen: list[Found] = []
    left = asked.tokens_max
    for each in candidates:
        if len(chosen) < asked.k and each.address in turns and tokens[each.address] <= left:
            left -= tokens[each.address]
            chosen.append(Found(each.address, each.score, turns[each.address], tokens[each.address]))
    return chosen


async def counted(machine: Machine, context: Context, turns: tuple[Turn, ...]) -> tuple[int, ...]:
    """What each turn takes of the window: by the model's own count, or by its upper bound if the model is away."""
    if not turns:
        return ()
    try:
        rendered = await machine.contexts.port(context).render(turns, (), ids_max=0)
    except _AWAY:
        return tuple(size_of(turn) for turn in turns)
    return rendered.counts[1:-1] or tuple(len(segment) for segment in rendered.segments)


def turn_of(address: str, page: tuple[Turn, ...]) -> Turn:
    """A page as the tool turn that shows it, naming where it is from."""
    sources = dict.fromkeys(turn.source for turn in page if turn.source)
    return tool(text_of(page), name="recall", source="; ".join(sources) or f"page {address}")

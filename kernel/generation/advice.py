"""Advice on pages, as in madvise: what is asked for is done now and bounded, and the answer says what was done.

Pins are hard, as those of mlock: what is pinned is never evicted, and a pin that could crowd a conversation out of its
own window is refused when it is asked for, not met later by a generation. Advice sticks to what the window shows now,
not to the address: the same text, said again later, is not pinned by it.
"""

from collections.abc import Sequence

from kernel.generation.fault import counted, turn_of
from kernel.machine import Machine
from kernel.mm.conversation import Context
from kernel.mm.window import Entry, Window
from kernel.trap import Trap
from syscalls.calls.context import Advise, Advised
from syscalls.errors import Invalid, NotFound, OverWindow

PAGES_MAX = 256
SHARE = 0.5
"""Of what a prompt may have: the most that pins take, and the most that is paged in at once."""


async def advise(machine: Machine, trap: Trap, context: Context, asked: Advise) -> Advised:
    """Does what is advised. Raises what the table says of context.advise, and then nothing has changed."""
    async with context.writing:
        if context.closed:
            raise NotFound("the context was closed meanwhile: open another")
        pages = _known(context, asked)
        window = context.window
        before = window.pages()
        match asked.advice:
            case "normal":
                pages = _normal(window, pages)
            case "dontneed":
                pages = _dismiss(window, pages)
            case "willneed":
                pages = await _bring(machine, context, pages)
            case "pin":
                await _pin(machine, context, pages)
        brought = tuple(page for page in window.pages() if page not in before)
        machine.trace.event(
            "advise", pid=trap.process.pid, advice=asked.advice, pages=len(pages), paged_in=len(brought)
        )
        return Advised(pages=pages, paged_in=brought, pinned_tokens=window.pinned_tokens)


def _known(context: Context, asked: Advise) -> tuple[str, ...]:
    """The pages asked for, each once."""
    pages = tuple(dict.fromkeys(asked.pages))
    if len(pages) > PAGES_MAX or (not pages and asked.advice != "normal"):
        raise Invalid(f"{len(pages)} pages: 1 to {PAGES_MAX} at once")
    strangers = set(pages).difference(ref.address for ref in context.refs())
    if strangers:
        raise NotFound(f"no page {min(strangers)} in this context: see the pages that append and recall name")
    return pages


def _normal(window: Window, pages: tuple[str, ...]) -> tuple[str, ...]:
    """Takes advice back; of which pages."""
    shown = window.showing(frozenset(pages)) if pages else window.entries
    freed = [entry for entry in shown if entry.pinned or entry.unwanted]
    for entry in freed:
        entry.pinned = entry.unwanted = False
    return _pages_of(freed)


def _dismiss(window: Window, pages: tuple[str, ...]) -> tuple[str, ...]:
    """Marks what shows nothing but `pages`; which of them that are."""
    for entry in window.showing(frozenset(pages)):
        entry.pinned = False
    gone = [entry for entry in window.entries if entry.pages and set(pages).issuperset(entry.pages)]
    for entry in gone:
        entry.unwanted = True
    return _pages_of(gone)


def _pages_of(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(page for entry in entries for page in entry.pages))


async def _bring(machine: Machine, context: Context, pages: tuple[str, ...]) -> tuple[str, ...]:
    """Pages in what fits; returns the pages that are resident then."""
    window = context.window
    room = SHARE * context.limit
    for entry in await _absent(machine, context, pages):
        if entry.tokens <= room:
            room -= entry.tokens
            window.entries.append(entry)
    for entry in window.showing(frozenset(pages)):
        entry.unwanted = False
    return tuple(page for page in pages if page in set(window.pages()))


async def _pin(machine: Machine, context: Context, pages: tuple[str, ...]) -> None:
    """Pins all or none."""
    window = context.window
    absent = await _absent(machine, context, pages)
    shown = window.showing(frozenset(pages))
    stay = [entry for entry in shown if entry.turn.role != "system"]
    window.recount(stay, await counted(machine, context, tuple(entry.turn for entry in stay)))
    before = sum(entry.tokens for entry in stay if entry.pinned)
    total = window.pinned_tokens - before + sum(entry.tokens for entry in (*stay, *absent))
    if total > SHARE * context.limit:
        raise OverWindow(
            f"what is pinned would take {total} tokens; at most {int(SHARE * context.limit)} of the {context.limit} "
            f"that a prompt may have: pin fewer, or take other pins back (normal)"
        )
    window.entries.extend(absent)
    for entry in (*shown, *absent):
        entry.pinned, entry.unwanted = True, False


async def _absent(machine: Machine, context: Context, pages: Sequence[str]) -> list[Entry]:
    """Entries for those pages that are not resident, counted, in the order asked."""
    resident = set(context.window.pages())
    missing = [page for page in pages if page not in resident]
    bodies = await machine.contexts.library.pages(context.principal, missing)
    turns = {page: turn_of(page, bodies[page]) for page in missing if page in bodies}
    entries = [Entry(turn, kind="recall", pages=(page,)) for page, turn in turns.items()]
    for entry, tokens in zip(entries, await counted(machine, context, tuple(turns.values())), strict=True):
        entry.tokens = tokens
    return entries

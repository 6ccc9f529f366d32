"""Advice on pages, as in madvise: what is asked for is done now and bounded, and the answer says what was done.

Pins are hard, as those of mlock: what is pinned is never evicted, and a pin that could crowd a conversation out of its
own window is refused when it is asked for, not met later by a generation.
"""

from collections.abc import Sequence

from kernel.fault import counted, shown
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
                pages = tuple(page for page in pages if page in before)
                window.pinned, window.unwanted = window.pinned.difference(pages), window.unwanted.union(pages)
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
    freed = tuple(sorted((window.pinned | window.unwanted).intersection(pages or window.pinned | window.unwanted)))
    window.pinned, window.unwanted = window.pinned.difference(freed), window.unwanted.difference(freed)
    return freed


async def _bring(machine: Machine, context: Context, pages: tuple[str, ...]) -> tuple[str, ...]:
    """Pages in what fits; returns the pages that are resident then."""
    window = context.window
    room = SHARE * context.limit
    for entry in await _absent(machine, context, pages):
        if entry.tokens <= room:
            room -= entry.tokens
            window.entries.append(entry)
    window.unwanted = window.unwanted.difference(pages)
    return tuple(page for page in pages if page in set(window.pages()))


async def _pin(machine: Machine, context: Context, pages: tuple[str, ...]) -> None:
    """Pins all or none."""
    window = context.window
    absent = await _absent(machine, context, pages)
    pinned = window.pinned.union(pages)
    stay = window.showing(pinned)
    for entry, tokens in zip(stay, await counted(machine, context, tuple(e.turn for e in stay)), strict=True):
        entry.tokens = tokens
    total = sum(entry.tokens for entry in (*stay, *absent))
    if total > SHARE * context.limit:
        raise OverWindow(
            f"what is pinned would take {total} tokens; at most {int(SHARE * context.limit)} of the {context.limit} "
            f"that a prompt may have: pin fewer, or take other pins back (normal)"
        )
    window.entries.extend(absent)
    window.pinned, window.unwanted = pinned, window.unwanted.difference(pages)


async def _absent(machine: Machine, context: Context, pages: Sequence[str]) -> list[Entry]:
    """Entries for those pages that are not resident, counted, in the order asked."""
    resident = set(context.window.pages())
    missing = [page for page in pages if page not in resident]
    bodies = await machine.contexts.library.pages(context.principal, missing)
    turns = {page: shown(page, bodies[page]) for page in missing if page in bodies}
    entries = [Entry(turn, kind="recall", pages=(page,)) for page, turn in turns.items()]
    for entry, tokens in zip(entries, await counted(machine, context, tuple(turns.values())), strict=True):
        entry.tokens = tokens
    return entries

"""The prompt of a conversation: rendered, counted, and made to fit by compacting the window at its marks."""

from itertools import chain
from typing import final

import trio
from msgspec import Struct

from kernel.hosts.ports import ModelPort
from kernel.machine import Machine
from kernel.mm.conversation import Context
from kernel.mm.page import BYTES_PER_TOKEN
from kernel.mm.window import STUB_BYTES, plan
from kernel.trap import Trap
from syscalls.driver import Rendered
from syscalls.errors import Invalid, OverWindow
from syscalls.turns import ToolSpec, Turn

ROUNDS_MAX = 6
"""Compactions before a prompt is given up: each evicts, so more than a few means that a template does not add up."""
PLENTY = 2 * BYTES_PER_TOKEN
"""Bytes of text per token of room that a window holds at most before anybody has counted them."""


@final
class Prompt(Struct, frozen=True):
    """What a driver is asked, counted."""

    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...]
    ids: tuple[int, ...]
    tokens: int


async def fit(machine: Machine, trap: Trap, context: Context, port: ModelPort, *, limit: int) -> Prompt:
    """The prompt of a context, at most `limit` tokens; compacts the window at its high-water mark.

    Raises OverWindow (EWINDOW) with the numbers if what cannot be evicted does not fit.
    """
    async with context.writing:
        await trim(machine, trap, context, limit=limit)
        for _ in range(ROUNDS_MAX):
            if not context.window.entries:
                raise Invalid("an empty context: append a turn first")
            turns = context.window.turns()
            rendered = await port.render(turns, context.tools, ids_max=limit)
            prompt = prompt_of(turns, context.tools, rendered)
            context.window.measure(counts_of(rendered))
            if not await _compact(machine, trap, context, limit):
                if prompt.tokens <= limit:
                    return prompt
                break
    pinned = context.window.pinned_tokens
    pins = f", {pinned} of them pinned," if pinned else ""
    raise OverWindow(
        f"tools, system turns and the last turn take {prompt.tokens} tokens{pins}; the window of {context.model} has "
        f"{context.window_tokens}, less {context.window_tokens - limit} for the answer: shorten the last turn, or send "
        f"it with resident=False and recall from it"
    )


async def trim(machine: Machine, trap: Trap, context: Context, *, limit: int) -> None:
    """Evicts what is so much more than could ever fit that it is not worth counting or keeping in memory: what nobody
    has counted is taken as bytes. The caller holds `writing`."""
    if context.window.tokens > PLENTY * limit:
        await _compact(machine, trap, context, PLENTY * limit)


async def _compact(machine: Machine, trap: Trap, context: Context, limit: int) -> bool:
    """Evicts and shortens what `plan` says; whether that was anything. The caller holds `writing`."""
    bounds, window = machine.config.bounds, context.window
    marks = {"high": int(bounds.high_water * limit), "low": int(bounds.low_water * limit)}
    if window.tokens <= marks["high"]:  # nearly always: of a window of tens of thousands nothing need be looked at
        return False
    items = window.items()
    await trio.lowlevel.checkpoint()
    stub = 0 if window.gone_turns else STUB_BYTES
    decided = plan(items, fixed=window.fixed, stub=stub, limit=limit, order=machine.evictor.order, **marks)
    if decided.idle or not decided.fits:
        return False
    await machine.contexts.binder.shelve(context, [window.entries[at] for at in decided.evict])
    before = window.tokens
    gone = window.apply(decided)
    kept = sum(entry.tokens for entry in window.entries if entry.turn.role != "system")
    context.evictions += len(gone)
    context.refilled_tokens += kept
    machine.trace.event(
        "evict", pid=trap.process.pid, turns=len(gone), shortened=len(decided.shorten), before=before,
        after=window.tokens, kept=kept,
    )  # fmt: skip
    return True


def counts_of(rendered: Rendered) -> tuple[int, ...]:
    """Head, each turn, tail: counted, or bounded where the driver has no tokenizer."""
    if rendered.counts:
        return rendered.counts
    return (len(rendered.head), *(len(segment) for segment in rendered.segments), len(rendered.tail))


def prompt_of(turns: tuple[Turn, ...], tools: tuple[ToolSpec, ...], rendered: Rendered) -> Prompt:
    """Ids where the driver gave them; else what it counted."""
    if rendered.counts:
        return Prompt(turns, tools, (), sum(rendered.counts))
    ids = tuple(chain(rendered.head, *rendered.segments, rendered.tail))
    return Prompt(turns, tools, ids, len(ids))

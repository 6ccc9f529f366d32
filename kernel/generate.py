"""The path of a generation: fit the window, hold the worst case, wait for a seat, stream, settle, keep the answer."""

import math
import secrets
from typing import final

import trio
from msgspec import Struct

from kernel.account import Hold
from kernel.machine import Machine
from kernel.mm.conversation import Context
from kernel.mm.page import BYTES_PER_TOKEN
from kernel.mm.window import STUB_BYTES, plan
from kernel.ports import ModelPort
from kernel.trap import Trap
from syscalls.calls.context import Generate, Generated, Piece, Usage
from syscalls.calls.model import OneShot
from syscalls.driver import Finished, Rendered, Sampling, Tokens
from syscalls.errors import Invalid, OverQuota, OverWindow, SyscallError, TimedOut
from syscalls.turns import ToolSpec, Turn, assistant

ROUNDS_MAX = 6
"""Compactions before a prompt is given up: each evicts, so more than a few means that a template does not add up."""
PLENTY = 2 * BYTES_PER_TOKEN
"""Bytes of text per token of room that a window holds at most before anybody has counted them."""
REFUSALS_MAX = 2
"""How often a host may refuse a prompt that we counted as fitting before the caller hears of it."""


@final
class Prompt(Struct, frozen=True):
    """What a driver is asked, counted."""

    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...]
    ids: tuple[int, ...]
    tokens: int


@final
class Done(Struct, frozen=True):
    """A generation that has ended well."""

    finished: Finished
    usage: Usage

    @property
    def turn(self) -> Turn:
        return assistant(self.finished.text, *self.finished.calls)


async def in_context(machine: Machine, trap: Trap, context: Context, asked: Generate) -> Generated:
    """Lets the model of `context` speak; one at a time per context. Raises what the table says of context.generate."""
    check(asked)
    with _deadline(asked.deadline_s) as scope:
        async with context.speaking:
            done = await _persistent(machine, trap, context, asked)
            version = context.version
            if asked.append:
                version = await machine.contexts.binder.answer(context, done.turn)
            faults, context.faults_told = context.faults - context.faults_told, context.faults
            return Generated(
                turn=done.turn,
                finish=done.finished.finish,
                usage=done.usage,
                version=version,
                pages=context.window.pages(),
                faults=faults,
            )
    raise _late(asked.deadline_s, scope)


async def one_shot(machine: Machine, trap: Trap, port: ModelPort, asked: OneShot) -> Generated:
    """One generation that leaves nothing behind. Raises what the table says of model.generate."""
    check(asked)
    if not asked.turns:
        raise Invalid("no turns: give at least a user's turn")
    with _deadline(asked.deadline_s) as scope:
        prompt = prompt_of(asked.turns, asked.tools, await port.render(asked.turns, asked.tools))
        window = port.opened.window_tokens
        if prompt.tokens >= window:
            raise OverWindow(
                f"the turns take {prompt.tokens} tokens, {port.name} has a window of {window} for prompt and answer"
            )
        done = await run(machine, trap, port, prompt, asked)
        return Generated(turn=done.turn, finish=done.finished.finish, usage=done.usage)
    raise _late(asked.deadline_s, scope)


def check(asked: Generate | OneShot) -> None:
    """Raises Invalid (EINVAL) for numbers out of range."""
    if asked.max_tokens < 1:
        raise Invalid(f"max_tokens {asked.max_tokens}: at least 1")
    if not 0.0 <= asked.temperature < math.inf:
        raise Invalid(f"temperature {asked.temperature}: 0 (greedy) or more")
    if not 0.0 < asked.top_p <= 1.0:
        raise Invalid(f"top_p {asked.top_p}: above 0, at most 1")
    if any(not stop for stop in asked.stop):
        raise Invalid("a stop string is empty: it would stop everything")
    if asked.deadline_s is not None and not 0.0 <= asked.deadline_s < math.inf:
        raise Invalid(f"deadline_s {asked.deadline_s}: seconds from now, 0 or more")


async def _persistent(machine: Machine, trap: Trap, context: Context, asked: Generate) -> Done:
    """A host counts again and may refuse; then the window is made smaller and it is asked again, at most twice."""
    port = await machine.devices.opened(context.model)
    share = 1.0
    for refusals in range(REFUSALS_MAX + 1):
        prompt = await fit(machine, trap, context, port, limit=int(context.limit * share))
        try:
            return await run(machine, trap, port, prompt, asked)
        except OverWindow as refused:
            machine.trace.event("window_refused", pid=trap.process.pid, prompt_tokens=prompt.tokens, why=str(refused))
            if refusals == REFUSALS_MAX:
                raise
            share *= 0.75
    raise AssertionError("unreachable")


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
            rendered = await port.render(turns, context.tools)
            prompt = prompt_of(turns, context.tools, rendered)
            context.window.measure(counts_of(rendered))
            if not await _compact(machine, trap, context, limit):
                if prompt.tokens <= limit:
                    return prompt
                break
    raise OverWindow(
        f"tools, system turns and the last turn take {prompt.tokens} tokens; the window of {context.model} has "
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

    stub = 0 if window.gone_turns else STUB_BYTES
    decided = plan(window.items(), fixed=window.fixed, stub=stub, limit=limit, **marks)
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
    """Ids where the driver gave them; its bounds where it could not."""
    if rendered.counts:
        return Prompt(turns, tools, (), sum(rendered.counts))
    ids = (*rendered.head, *(each for segment in rendered.segments for each in segment), *rendered.tail)
    return Prompt(turns, tools, ids, len(ids))


async def run(machine: Machine, trap: Trap, port: ModelPort, prompt: Prompt, asked: Generate | OneShot) -> Done:
    """Holds, queues, generates and settles. However it ends, what the driver did is charged, once."""
    most = min(asked.max_tokens, port.opened.window_tokens - prompt.tokens)
    most = _affordable(machine, trap, prompt, most) if asked.clip else most
    seed = asked.seed if asked.seed is not None else secrets.randbits(31) if asked.temperature else 0
    sampling = Sampling(max_tokens=most, temperature=asked.temperature, top_p=asked.top_p, seed=seed, stop=asked.stop)
    hold = machine.accounts.hold(trap.process.account, prompt.tokens + most)
    meter = Meter(prompt.tokens)
    try:
        async with machine.scheduler.seat(
            device=port.name,
            slots=port.opened.slots,
            process=trap.process,
            cost_tokens=hold.tokens,
        ) as seat:
            trap.queued_s += seat.queued_s
            began = machine.clock.now()
            try:
                finished = await _stream(port, prompt, sampling, meter, trap)
            finally:
                took_s = machine.clock.now() - began
                trap.driver_s += took_s
                trap.process.driver_s += took_s
                seat.absorb(meter.service)
    finally:
        _settle(machine, trap, hold, meter)
    usage = Usage(
        prompt_tokens=finished.prompt_tokens,
        generated_tokens=finished.generated_tokens,
        cached_tokens=finished.cached_tokens,
        queued_s=trap.queued_s,
        driver_s=trap.driver_s,
    )
    return Done(finished, usage)


@final
class Meter:
    """What a generation has cost so far. Until a driver has finished it counts for itself: the prompt once the driver
    was asked, and every token that came; a driver that refused did nothing."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self.prompt_tokens = 0
        self.generated_tokens = 0
        self.cached_tokens = 0

    @property
    def service(self) -> int:
        """Tokens that had to be computed."""
        return self.prompt_tokens - self.cached_tokens + self.generated_tokens

    def asked(self) -> None:
        """The driver has the prompt."""
        self.prompt_tokens = self._expected

    def came(self, tokens: int) -> None:
        """So many more were generated."""
        self.generated_tokens += tokens

    def failed(self) -> None:
        """The driver gave an error; without a token before it, it did nothing."""
        if not self.generated_tokens:
            self.prompt_tokens = 0

    def finished(self, done: Finished) -> None:
        """The driver's own count, which is what is charged."""
        self.prompt_tokens = done.prompt_tokens
        self.generated_tokens = done.generated_tokens
        self.cached_tokens = done.cached_tokens


async def _stream(port: ModelPort, prompt: Prompt, sampling: Sampling, meter: Meter, trap: Trap) -> Finished:
    """Asks the driver and passes its text on. A reader that is gone ends the generation: its slot comes free."""
    exact = port.opened.counts == "exact"
    broken: list[SyscallError] = []
    with trio.CancelScope() as reading:

        def sink(tokens: Tokens) -> None:
            meter.came(len(tokens.ids))
            if tokens.text and not broken:
                try:
                    trap.emit(Piece(text=tokens.text, tokens=len(tokens.ids)))
                except SyscallError as gone:
                    broken.append(gone)
                    reading.cancel()

        meter.asked()
        try:
            finished = await port.generate(
                sampling,
                prompt=prompt.ids if exact else (),
                turns=() if exact else prompt.turns,
                tools=() if exact else prompt.tools,
                sink=sink,
            )
        except SyscallError:
            meter.failed()
            raise
        meter.finished(finished)
    if broken:
        raise broken[0]
    return finished


def _affordable(machine: Machine, trap: Trap, prompt: Prompt, most: int) -> int:
    """`max_tokens` lowered to what the account can pay. Raises OverQuota if it cannot pay prompt and one token."""
    room = machine.accounts.room(trap.process.account)
    if room is None or room >= prompt.tokens + most:
        return most
    if room <= prompt.tokens:
        raise OverQuota(
            f"account {trap.process.account.name} has {room} tokens left, the prompt alone takes {prompt.tokens}: "
            f"raise the budget or shorten the context"
        )
    return room - prompt.tokens


def _settle(machine: Machine, trap: Trap, hold: Hold, meter: Meter) -> None:
    """Charges what was done to the account, the process and the trace record."""
    excess = machine.accounts.settle(hold, meter.prompt_tokens + meter.generated_tokens)
    process = trap.process
    if excess:
        machine.trace.event("overrun", pid=process.pid, held=hold.tokens, excess=excess)
    process.prompt_tokens += meter.prompt_tokens
    process.generated_tokens += meter.generated_tokens
    trap.prompt_tokens += meter.prompt_tokens
    trap.generated_tokens += meter.generated_tokens


def _deadline(seconds: float | None) -> trio.CancelScope:
    return trio.CancelScope() if seconds is None else trio.move_on_after(seconds)


def _late(seconds: float | None, scope: trio.CancelScope) -> SyscallError:
    assert scope.cancelled_caught
    return TimedOut(f"the answer was not there in {seconds} s, waiting for a seat included: allow more (deadline_s)")

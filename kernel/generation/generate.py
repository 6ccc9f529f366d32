"""The path of a generation: fit the window, hold the worst case, wait for a seat, stream, settle, keep the answer."""

import math
import secrets
from typing import final

import trio
from msgspec import Struct

from kernel.accounts.account_record import Hold
from kernel.generation.meter import Meter, in_micros, timed
from kernel.generation.prompt import Prompt, fit, prompt_of
from kernel.hosts.ports import ModelPort
from kernel.machine import Machine
from kernel.mm.conversation import Context
from kernel.trap import Trap
from syscalls.calls.context import Generate, Generated, Piece, Usage
from syscalls.calls.model import OneShot
from syscalls.driver import Finished, Sampling, Tokens
from syscalls.errors import Invalid, OverQuota, OverWindow, SyscallError, TimedOut
from syscalls.resources import Resource
from syscalls.turns import Turn, assistant

STOPS_MAX = 64
REFUSALS_MAX = 2
"""How often a host may refuse a prompt that we counted as fitting before the caller hears of it."""


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
    trap.facts = {"context": str(asked.context)}
    with deadline(asked.deadline_s) as scope:
        async with context.speaking:
            done = await _persistent(machine, trap, context, asked)
            version = context.version
            if asked.append:
                with machine.contexts.growing(context, trap.process.account, (done.turn,)):
                    version = await machine.contexts.binder.answer(context, done.turn)
            await machine.ledger.keep()
            faults, context.faults_told = context.faults - context.faults_told, context.faults
            return Generated(
                turn=done.turn,
                finish=done.finished.finish,
                usage=done.usage,
                version=version,
                pages=context.window.pages(),
                faults=faults,
            )
    raise late(asked.deadline_s, scope)


async def one_shot(machine: Machine, trap: Trap, port: ModelPort, asked: OneShot) -> Generated:
    """One generation that leaves nothing behind. Raises what the table says of model.generate."""
    check(asked)
    if not asked.turns:
        raise Invalid("no turns: give at least a user's turn")
    with deadline(asked.deadline_s) as scope:
        window = port.opened.window_tokens
        prompt = prompt_of(asked.turns, asked.tools, await port.render(asked.turns, asked.tools, ids_max=window))
        if prompt.tokens >= window:
            raise OverWindow(
                f"the turns take {prompt.tokens} tokens, {port.name} has a window of {window} for prompt and answer"
            )
        done = await run(machine, trap, port, prompt, asked)
        return Generated(turn=done.turn, finish=done.finished.finish, usage=done.usage)
    raise late(asked.deadline_s, scope)


def check(asked: Generate | OneShot) -> None:
    """Raises Invalid (EINVAL) for numbers out of range."""
    if asked.max_tokens < 1:
        raise Invalid(f"max_tokens {asked.max_tokens}: at least 1")
    if not 0.0 <= asked.temperature < math.inf:
        raise Invalid(f"temperature {asked.temperature}: 0 (greedy) or more")
    if not 0.0 < asked.top_p <= 1.0:
        raise Invalid(f"top_p {asked.top_p}: above 0, at most 1")
    if len(asked.stop) > STOPS_MAX:
        raise Invalid(f"{len(asked.stop)} stop strings: at most {STOPS_MAX}")
    if any(not stop for stop in asked.stop):
        raise Invalid("a stop string is empty: it would stop everything")
    check_deadline(asked.deadline_s)


def check_deadline(seconds: float | None) -> None:
    """Raises Invalid (EINVAL) for what is no time from now."""
    if seconds is not None and not 0.0 <= seconds < math.inf:
        raise Invalid(f"deadline_s {seconds}: seconds from now, 0 or more")


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


async def run(machine: Machine, trap: Trap, port: ModelPort, prompt: Prompt, asked: Generate | OneShot) -> Done:
    """Holds, queues, generates and settles. However it ends, what the driver did is charged, once."""
    most = min(asked.max_tokens, port.opened.window_tokens - prompt.tokens)
    most = _affordable(machine, trap, port.name, prompt, most) if asked.clip else most
    seed = asked.seed if asked.seed is not None else secrets.randbits(31) if asked.temperature else 0
    sampling = Sampling(max_tokens=most, temperature=asked.temperature, top_p=asked.top_p, seed=seed, stop=asked.stop)
    worst = machine.accounts.worst(port.name, prompt.tokens, most)
    facts = trap.facts = {**(trap.facts or {}), "model": port.name}
    hold = machine.accounts.hold(trap.process.account, worst)
    meter = Meter(prompt.tokens, machine.clock.now)
    took_us = 0
    try:
        async with machine.scheduler.seat(
            device=port.name,
            slots=port.opened.slots,
            process=trap.process,
            cost_tokens=hold.tokens,
        ) as seat:
            trap.queued_s += seat.queued_s
            machine.metrics.queue.observe(seat.queued_s)
            began = machine.clock.now()
            try:
                finished = await timed(
                    machine.accounts, hold, port.name, lambda: _stream(port, prompt, sampling, meter, trap)
                )
            finally:
                took_s = machine.clock.now() - began
                took_us = in_micros(took_s)
                _measure(machine, trap, meter, began, took_s)
                trap.driver_s += took_s
                trap.process.driver_s += took_s
                seat.absorb(meter.service)
    finally:
        settle(machine, trap, hold, meter, port.name, took_us)
    facts |= {"finish": finished.finish, "cached_tokens": str(finished.cached_tokens)}
    usage = Usage(
        prompt_tokens=finished.prompt_tokens,
        generated_tokens=finished.generated_tokens,
        cached_tokens=finished.cached_tokens,
        queued_s=trap.queued_s,
        driver_s=trap.driver_s,
    )
    return Done(finished, usage)


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


def _affordable(machine: Machine, trap: Trap, model: str, prompt: Prompt, most: int) -> int:
    """`max_tokens` lowered to what the account can pay. Raises OverQuota if it cannot pay prompt and one token."""
    accounts, account = machine.accounts, trap.process.account
    price = accounts.price_of(model)
    for resource, taken, each in (
        (Resource.TOKENS, prompt.tokens, 1),
        (Resource.TOKENS_OUT, 0, 1),
        (Resource.MONEY, price.worst(prompt.tokens, 0), price.picos_out),
    ):
        room = accounts.room(account, resource)
        if room is None or room >= taken + most * each:
            continue
        if room < taken + each:
            try:
                accounts.hold(account, {resource: taken + each})
            except OverQuota as over:
                raise OverQuota(f"the prompt and one token do not fit: {over.message}") from None
        most = (room - taken) // each
    return most


def _measure(machine: Machine, trap: Trap, meter: Meter, began: float, took_s: float) -> None:
    """How long the first token took, each later one, and all of it."""
    metrics = machine.metrics
    metrics.generation.observe(took_s)
    if meter.first_s is not None:
        metrics.ttft.observe(meter.first_s - trap.began_s)
        later = meter.generated_tokens - 1
        if later > 0:
            metrics.token.observe((began + took_s - meter.first_s) / later, later)


def settle(machine: Machine, trap: Trap, hold: Hold, meter: Meter, model: str, took_us: int) -> None:
    """Charges what was done to the account, the process and the trace record."""
    accounts, process = machine.accounts, trap.process
    did = accounts.cost(
        model, meter.prompt_tokens, meter.generated_tokens, cached=meter.cached_tokens, generation_us=took_us
    )
    excess = accounts.settle(hold, did, model=model, cached=meter.cached_tokens)
    if excess:
        machine.trace.event("overrun", pid=process.pid, held=hold.tokens, excess=excess)
    process.prompt_tokens += meter.prompt_tokens
    process.generated_tokens += meter.generated_tokens
    trap.prompt_tokens += meter.prompt_tokens
    trap.generated_tokens += meter.generated_tokens


def deadline(seconds: float | None) -> trio.CancelScope:
    """The scope of a call that has until `seconds` from now."""
    return trio.CancelScope() if seconds is None else trio.move_on_after(seconds)


def late(seconds: float | None, scope: trio.CancelScope) -> SyscallError:
    """What such a call ends with."""
    assert scope.cancelled_caught
    return TimedOut(f"the answer was not there in {seconds} s, waiting for a seat included: allow more (deadline_s)")

"""The path of a score: continuations as the model's tokens, held and charged as a prompt, waiting for a seat as a
generation does; and what else there is to ask of a tokenizer.

The tokens of a continuation are those that it has after its prompt: a tokenizer may join what meets at the seam. Where
it does, the continuation is taken by itself.
"""

from typing import final

from msgspec import Struct

from kernel.generation.generate import check_deadline, deadline, late, settle
from kernel.generation.meter import Meter, in_micros, timed
from kernel.generation.prompt import prompt_of
from kernel.hosts.ports import ModelPort
from kernel.machine import Machine
from kernel.trap import Trap
from syscalls import driver
from syscalls.calls import model as abi
from syscalls.calls.context import Usage
from syscalls.errors import Invalid, NoSyscall, OverWindow, SyscallError
from syscalls.turns import Turn, user

CONTINUATIONS_MAX = 256
CONTINUED_TOKENS_MAX = 1 << 17
"""Of all continuations of a call: the score of each is an object, and they come in one answer."""
TEXT_CHARS_MAX = 1 << 20
"""Of a text that is tokenized at once: what a driver's loop may be held up by."""


@final
class Question(Struct, frozen=True):
    """What a driver is asked, and how many tokens it reads at most for each continuation."""

    asked: driver.Score
    tokens: tuple[int, ...]


async def score(machine: Machine, trap: Trap, port: ModelPort, args: abi.Score) -> abi.Scored:
    """Scores every continuation. Raises what the table says of model.score."""
    _check(args)
    if "score" not in port.opened.can:
        raise NoSyscall(f"{port.name} cannot score: its driver says it can {', '.join(port.opened.can)}")
    trap.facts = {"model": port.name}
    with deadline(args.deadline_s) as scope:
        question = await (_in_ids(port, args) if port.opened.counts == "exact" else _in_text(port, args))
        _check_window(port, question)
        scored = await _run(machine, trap, port, question)
        usage = Usage(
            prompt_tokens=scored.prompt_tokens,
            cached_tokens=scored.cached_tokens,
            queued_s=trap.queued_s,
            driver_s=trap.driver_s,
        )
        continuations = tuple(map(_summed, scored.scores))
        trap.detail = f"{len(continuations)} scores, the best {max(each.logprob for each in continuations):.4f}"
        return abi.Scored(continuations=continuations, usage=usage)
    raise late(args.deadline_s, scope)


async def tokenize(port: ModelPort, args: abi.Tokenize) -> abi.Tokenized:
    """Text or turns to tokens, or back. Raises what the table says of model.tokenize."""
    asked = (args.text is not None, bool(args.turns), args.ids is not None)
    if sum(asked) != 1:
        raise Invalid("give exactly one of text, turns and ids")
    exact = port.opened.counts == "exact"
    if args.ids is not None:
        if "tokenize" not in port.opened.can:
            raise NoSyscall(f"{port.name} has no tokenizer here: its server keeps it to itself")
        return abi.Tokenized(count=len(args.ids), text=await port.detokenize(args.ids))
    if args.turns:
        rendered = await port.render(args.turns, args.tools, ids_max=TEXT_CHARS_MAX)
        prompt = prompt_of(args.turns, args.tools, rendered)
        return abi.Tokenized(count=prompt.tokens, ids=prompt.ids, exact=exact)
    assert args.text is not None
    _check_text(args.text)
    if "tokenize" in port.opened.can:
        ids = await port.tokenize(args.text)
        return abi.Tokenized(count=len(ids), ids=ids)
    return abi.Tokenized(count=await _bound(port, args.text), exact=False)


def _check(args: abi.Score) -> None:
    if bool(args.prompt) == bool(args.turns):
        raise Invalid("give a prompt or turns, one of them: nothing comes before the first token of a text")
    if not 1 <= len(args.continuations) <= CONTINUATIONS_MAX:
        raise Invalid(f"{len(args.continuations)} continuations: 1 to {CONTINUATIONS_MAX}")
    if not all(args.continuations):
        raise Invalid("an empty continuation: there is nothing to score")
    for text in (args.prompt, *args.continuations):
        if isinstance(text, str):
            _check_text(text)
    check_deadline(args.deadline_s)


def _check_text(text: str) -> None:
    if len(text) > TEXT_CHARS_MAX:
        raise Invalid(f"a text of {len(text)} characters: at most {TEXT_CHARS_MAX} at once")


async def _in_ids(port: ModelPort, args: abi.Score) -> Question:
    """For a driver with a tokenizer."""
    if args.turns:
        window = port.opened.window_tokens
        rendered = prompt_of(args.turns, args.tools, await port.render(args.turns, args.tools, ids_max=window))
        prompt, read = rendered.ids, rendered.tokens
    else:
        prompt = await port.tokenize(args.prompt)
        read = len(prompt)
    continuations: list[tuple[int, ...]] = []
    for each in args.continuations:
        continuations.append(await _after(port, args, prompt, each) if isinstance(each, str) else each)
    total = sum(map(len, continuations))
    if total > CONTINUED_TOKENS_MAX:
        raise Invalid(f"continuations of {total} tokens: at most {CONTINUED_TOKENS_MAX} at once, then the next")
    asked = driver.Score(device=0, prompt=prompt, continuations=tuple(continuations))
    return Question(asked, tuple(read + len(each) for each in continuations))


async def _after(port: ModelPort, args: abi.Score, prompt: tuple[int, ...], text: str) -> tuple[int, ...]:
    """The ids of `text` after the prompt; an answer begins anew."""
    if args.prompt:
        whole = await port.tokenize(args.prompt + text)
        if whole[: len(prompt)] == prompt and len(whole) > len(prompt):
            return whole[len(prompt) :]
    return await port.tokenize(text)


async def _in_text(port: ModelPort, args: abi.Score) -> Question:
    """For a driver without one: plain texts, and the bounds it gives for them."""
    texts = tuple(each for each in args.continuations if isinstance(each, str))
    if args.turns or len(texts) < len(args.continuations):
        raise NoSyscall(f"{port.name} has no tokenizer here: score texts after a prompt that is text, not turns or ids")
    bounds = [await _bound(port, args.prompt + text) for text in texts]
    return Question(driver.Score(device=0, prompt_text=args.prompt, texts=texts), tuple(bounds))


async def _bound(port: ModelPort, text: str) -> int:
    """At most how many tokens a plain text is, by the driver's own bound for a turn of it."""
    turns: tuple[Turn, ...] = (user(text),)
    return prompt_of(turns, (), await port.render(turns, (), ids_max=0)).tokens


def _check_window(port: ModelPort, question: Question) -> None:
    window, longest = port.opened.window_tokens, max(question.tokens)
    if port.opened.counts == "exact" and longest > window:
        raise OverWindow(
            f"prompt and continuation take {longest} tokens, the window of {port.name} has {window}: "
            f"{longest - window} too many"
        )


async def _run(machine: Machine, trap: Trap, port: ModelPort, question: Question) -> driver.Scored:
    """Holds, queues, scores and settles. However it ends, what the driver did is charged, once."""
    worst = machine.accounts.worst(port.name, sum(question.tokens))
    hold = machine.accounts.hold(trap.process.account, worst)
    meter = Meter(sum(question.tokens))
    took_us = 0
    try:
        async with machine.scheduler.seat(
            device=port.name, slots=port.opened.slots, process=trap.process, cost_tokens=hold.tokens
        ) as seat:
            trap.queued_s += seat.queued_s
            began = machine.clock.now()
            try:
                meter.asked()
                scored = await timed(machine.accounts, hold, port.name, lambda: port.score(question.asked))
                meter.read(scored)
            except SyscallError:
                meter.failed()
                raise
            finally:
                took_s = machine.clock.now() - began
                took_us = in_micros(took_s)
                trap.driver_s += took_s
                trap.process.driver_s += took_s
                seat.absorb(meter.service)
    finally:
        settle(machine, trap, hold, meter, port.name, took_us)
    await machine.ledger.keep()
    return scored


def _summed(tokens: tuple[driver.TokenScore, ...]) -> abi.Continuation:
    return abi.Continuation(
        logprob=sum(token.logprob for token in tokens), greedy=all(token.greedy for token in tokens), tokens=tokens
    )

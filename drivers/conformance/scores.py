"""What a model that scores and tokenizes keeps to."""

from collections.abc import Sequence

import msgspec

from drivers.conformance.checks import Check, NotDeclared, check, expect, needs
from drivers.conformance.rig import Rig, prompt_of
from syscalls import driver as abi
from syscalls.errors import Errno
from syscalls.row import Row
from syscalls.turns import user

CHECKS: list[Check] = []

TEXTS = (
    "",
    "Three ships.",
    "  two spaces, a tab\t and a line\n",
    "äöü 漢字 \N{SAILBOAT}",
    "<|not a token|> <tool_call>",
)
TOKENS = 12
CLOSE = 1e-3
"""By how much two log-probabilities of the same token may differ: other batches add numbers in another order."""


async def score(rig: Rig, prompt: Sequence[int], *continuations: Sequence[int]) -> abi.Scored:
    """The scores, checked for shape."""
    args = abi.Score(
        device=rig.opened.device, prompt=tuple(prompt), continuations=tuple(tuple(each) for each in continuations)
    )
    scored: abi.Scored = await rig.link.call(abi.SCORE, args)
    told = tuple(tuple(token.id for token in each) for each in scored.scores)
    expect(told == args.continuations, "the ids scored are not the ids asked for")
    expect(all(token.logprob <= 0.0 for each in scored.scores for token in each), "a log-probability above 0")
    return scored


def in_ids(rig: Rig) -> None:
    """Raises NotDeclared unless the device scores, and does it in ids."""
    needs(rig, "score")
    if rig.opened.counts == "bound":
        raise NotDeclared("it has no tokenizer: it scores texts")


def total(tokens: Sequence[abi.TokenScore]) -> float:
    return sum(token.logprob for token in tokens)


async def greedy(rig: Rig, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A prompt, and what greedy decoding makes of it."""
    request = await rig.request(user(text), sampling=abi.Sampling(TOKENS))
    return request.prompt, (await rig.generate(request)).ids


def other(token: int) -> int:
    """Another token."""
    return token - 1 if token else 1


@check("model", CHECKS)
async def tokens_and_back(rig: Rig) -> None:
    """Text to ids and back is the same text; the ids of a text are the same every time."""
    needs(rig, "tokenize")
    at = rig.opened.device
    for text in TEXTS:
        tokenized: abi.Tokenized = await rig.link.call(abi.TOKENIZE, abi.Tokenize(device=at, text=text))
        expect(bool(tokenized.ids) == bool(text), f"{text!r} is {len(tokenized.ids)} tokens")
        back: abi.Detokenized = await rig.link.call(abi.DETOKENIZE, abi.Detokenize(device=at, ids=tokenized.ids))
        expect(back.text == text, f"{text!r} came back as {back.text!r}")
        again = await rig.link.call(abi.TOKENIZE, abi.Tokenize(device=at, text=text))
        expect(again == tokenized, f"{text!r} has other ids the second time")


@check("model", CHECKS)
async def ids_that_are_none(rig: Rig) -> None:
    """Ids outside the vocabulary are EINVAL, whether they are to be read or to be scored."""
    needs(rig, "tokenize")
    at = rig.opened.device
    wrong: list[tuple[Row, msgspec.Struct]] = [
        (abi.DETOKENIZE, abi.Detokenize(device=at, ids=ids)) for ids in ((-1,), (1 << 40,))
    ]
    if "score" in rig.opened.can:
        wrong += [
            (abi.SCORE, abi.Score(device=at, prompt=prompt, continuations=continuations))
            for prompt, continuations in (
                ((1 << 40,), ((1,),)), ((1,), ((-1,),)), ((1,), ((),)), ((), ((1,),)), ((1,), ()),
            )
        ]  # fmt: skip
    for row, args in wrong:
        refused = await rig.error_of(row, args)
        expect(refused is not None and refused.errno is Errno.EINVAL, f"{args}: answered with {refused!r}")


@check("model", CHECKS)
async def score_agrees_with_greedy(rig: Rig) -> None:
    """What greedy decoding says is greedy in every token and likelier than any other token in its place; it adds up."""
    in_ids(rig)
    for text in ("Tell me of ships.", "And of the quay?"):
        prompt, ids = await greedy(rig, text)
        swapped = [(*ids[:n], other(ids[n])) for n in range(len(ids))]
        scored = await score(rig, prompt, ids, *swapped)
        whole = scored.scores[0]
        expect(all(token.greedy for token in whole), f"not greedy: {[token.greedy for token in whole]}")
        for n, tokens in enumerate(scored.scores[1:]):
            apart = abs(total(tokens[:n]) - total(whole[:n]))
            expect(apart < CLOSE, f"the first {n} tokens differ by {apart:.3g} in other company")
            expect(tokens[n].logprob <= whole[n].logprob + CLOSE, f"token {n}: another is likelier than the greedy one")
            expect(not tokens[n].greedy, f"token {n}: another is greedy too")
        half = len(ids) // 2
        first, rest = await score(rig, prompt, ids[:half]), await score(rig, (*prompt, *ids[:half]), ids[half:])
        apart = abs(total(first.scores[0]) + total(rest.scores[0]) - total(whole))
        expect(apart < CLOSE, f"two halves and the whole differ by {apart:.3g}")


@check("model", CHECKS)
async def scores_together_as_alone(rig: Rig) -> None:
    """A continuation's score does not depend on the others, nor on its place among them."""
    in_ids(rig)
    prompt, ids = await greedy(rig, "Which is it?")
    many = [ids[n:] for n in range(len(ids))] + [ids[: n + 1] for n in range(len(ids))]
    together = await score(rig, prompt, *many)
    backwards = await score(rig, prompt, *reversed(many))
    for n, (each, tokens) in enumerate(zip(many, together.scores, strict=True)):
        alone = await score(rig, prompt, each)
        for found in (alone.scores[0], backwards.scores[len(many) - 1 - n]):
            apart = max(abs(a.logprob - b.logprob) for a, b in zip(tokens, found, strict=True))
            expect(apart < CLOSE, f"continuation {n} differs by {apart:.3g}")


@check("model", CHECKS)
async def score_window_is_exact(rig: Rig) -> None:
    """One token too many is EWINDOW with the numbers; the full window is scored."""
    in_ids(rig)
    prompt = prompt_of(await rig.render(user("How long?")))
    window = rig.opened.window_tokens
    room = window - len(prompt)
    args = abi.Score(device=rig.opened.device, prompt=prompt, continuations=((1,), (1,) * (room + 1)))
    refused = await rig.error_of(abi.SCORE, args)
    expect(refused is not None and refused.errno is Errno.EWINDOW, f"was answered with {refused!r}")
    said = str(refused)
    expect(str(len(prompt)) in said and str(window) in said, f"the numbers are not in {said!r}")
    scored = await score(rig, prompt, (1,) * room)
    expect(scored.prompt_tokens == window, f"read {scored.prompt_tokens} of {window} tokens")


@check("model", CHECKS)
async def ledger_counts_scores(rig: Rig) -> None:
    """The host's ledger grows by what was read: each prompt with its continuation."""
    in_ids(rig)
    prompt, ids = await greedy(rig, "What did it cost?")
    before = await rig.ledger()
    scored = await score(rig, prompt, ids, ids[:1])
    after = await rig.ledger()
    expect(scored.prompt_tokens == 2 * len(prompt) + len(ids) + 1, f"says it read {scored.prompt_tokens} tokens")
    expect(after.prompt_tokens - before.prompt_tokens == scored.prompt_tokens, "prompt_tokens")
    expect(scored.cached_tokens < scored.prompt_tokens, "everything was cached")


@check("model", CHECKS)
async def texts_are_scored_without_a_tokenizer(rig: Rig) -> None:
    """With counts `bound`: a text's score does not depend on the others, it adds up, ids are ENOSYS, the ledger grows
    by what was read."""
    needs(rig, "score")
    if rig.opened.counts == "exact":
        raise NotDeclared("it has a tokenizer: it scores ids")
    at, prompt, texts = rig.opened.device, "in the quiet", (" harbour", " harbour small boats")
    before = await rig.ledger()
    together: abi.Scored = await rig.link.call(abi.SCORE, abi.Score(device=at, prompt_text=prompt, texts=texts))
    after = await rig.ledger()
    expect(after.prompt_tokens - before.prompt_tokens == together.prompt_tokens > 0, "prompt_tokens")
    alone = abi.Score(device=at, prompt_text=prompt, texts=texts[:1])
    rest = abi.Score(device=at, prompt_text=prompt + texts[0], texts=(texts[1].removeprefix(texts[0]),))
    first, second = [(await rig.link.call(abi.SCORE, each)).scores[0] for each in (alone, rest)]
    expect(abs(total(first) - total(together.scores[0])) < CLOSE, "a text alone has another score")
    expect(abs(total(first) + total(second) - total(together.scores[1])) < CLOSE, "two pieces and the whole differ")
    refused = await rig.error_of(abi.SCORE, abi.Score(device=at, prompt=(1,), continuations=((1,),)))
    expect(refused is not None and refused.errno is Errno.ENOSYS, f"ids: answered with {refused!r}")

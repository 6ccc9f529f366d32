"""Scores from the completions API, which echoes a prompt with the log-probability of each of its tokens.

The newer chat API tells of generated tokens only. Servers differ in what `echo` does: an answer without the numbers is
refused, never guessed.
"""

from typing import Any

import msgspec
from msgspec import Struct

from syscalls.driver import TokenScore
from syscalls.errors import IOFailed, NoSyscall

ASKED_TOKENS = 1
"""The least that every server takes for max_tokens; what it makes is not looked at, and counted as read."""


class _Logprobs(Struct):
    tokens: list[str]
    token_logprobs: list[float | None]
    text_offset: list[int]
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(Struct):
    logprobs: _Logprobs | None = None


class _Usage(Struct):
    total_tokens: int = 0


class _Completion(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None


def body_of_echo(text: str, *, model: str) -> dict[str, Any]:
    """The JSON that asks for the log-probabilities of `text` itself."""
    return {"model": model, "prompt": text, "echo": True, "logprobs": 1, "max_tokens": ASKED_TOKENS, "temperature": 0}


def scores_in(answer: bytes, *, prompt: str, text: str) -> tuple[tuple[TokenScore, ...], int]:
    """The tokens of `text` after `prompt`, and what the server counted; a token across the seam belongs to the text.

    Raises NoSyscall for an answer without the numbers, IOFailed for what is no answer of this API."""
    try:
        found = msgspec.json.decode(answer, type=_Completion)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as bad:
        raise IOFailed(f"the server answered the request for scores with something else: {bad}") from None
    told = found.choices[0].logprobs if found.choices else None
    if told is None or not len(told.tokens) == len(told.token_logprobs) == len(told.text_offset):
        raise NoSyscall("the server does not tell the log-probabilities of a prompt (echo): it cannot score")
    tops = told.top_logprobs or [None] * len(told.tokens)
    ends = [*told.text_offset[1:], len(prompt) + len(text)]
    scores = tuple(
        TokenScore(logprob=logprob, greedy=logprob >= max((top or {}).values(), default=0.0), text=token)
        for token, logprob, start, end, top in zip(
            told.tokens, told.token_logprobs, told.text_offset, ends, tops, strict=False
        )
        if logprob is not None and end > len(prompt) and start < len(prompt) + len(text)
    )
    if not scores:
        raise NoSyscall("the server did not echo the continuation: it cannot score")
    return scores, found.usage.total_tokens if found.usage else 0

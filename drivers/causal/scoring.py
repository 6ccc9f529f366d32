"""One continuation that is scored: read like a prompt, piece by piece, and judged where it goes beyond the prompt.

Prompt and continuation are one sequence; the row of logits at a place is about the token after it, so the rows that
count begin at the last token of the prompt.
"""

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from msgspec import Struct

from drivers.causal.generation import Voice
from syscalls.driver import TokenScore


@final
class Judged(Struct, frozen=True):
    """The tokens of one continuation, and how much of its prompt was not computed anew."""

    tokens: tuple[TokenScore, ...]
    cached_tokens: int


@final
class Scoring:
    """The state of one. The engine's thread feeds it; `sink` takes its end on the loop's."""

    ended = False
    """It leaves when it is read."""

    def __init__(
        self, prompt: Sequence[int], continuation: Sequence[int], voice: Voice, sink: Callable[[Any], None]
    ) -> None:
        self.ids = [*prompt, *continuation]
        self.sink = sink
        self.cancelled = False
        self.fed = 0
        self.cached_tokens = 0
        self._begin = len(prompt)
        self._voice = voice
        self._judged: dict[int, tuple[float, bool]] = {}

    @property
    def reusable(self) -> int:
        """How many tokens need no logits of their own, so that known keys and values do for them."""
        return self._begin - 1

    def wanted(self, start: int, count: int) -> int:
        """Of how many of the last tokens of ids[start : start + count] the logits are wanted; at least one, as a
        forward gives."""
        return max(1, min(count, start + count - self.reusable))

    def take(self, start: int, logits: Any) -> None:
        """The logits [rows, vocabulary] of tokens `start`, `start + 1`, …: judges the token after each."""
        first = max(0, self.reusable - start)
        rows = logits[first : len(self.ids) - 1 - start]
        if not len(rows):
            return
        at = start + first + 1
        said = torch.tensor(self.ids[at : at + len(rows)], device=rows.device)
        logprobs = torch.log_softmax(rows.float(), dim=-1)
        own = logprobs.gather(1, said[:, None])[:, 0].tolist()
        best = (rows.argmax(-1) == said).tolist()
        for n, each in enumerate(zip(own, best, strict=True)):
            self._judged[at + n] = each

    def finished(self) -> Judged:
        """The scores; once all is read."""
        tokens = tuple(
            TokenScore(logprob=logprob, greedy=greedy, id=self.ids[at], text=self._voice.whole((self.ids[at],)))
            for at, (logprob, greedy) in sorted(self._judged.items())
        )
        return Judged(tokens, self.cached_tokens)

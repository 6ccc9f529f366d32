"""How likely the simulated model finds what it did not say itself: nine in ten for its own next token, the rest for all
others alike."""

import math
from collections.abc import Sequence

from drivers.simulated.tokens import VOCABULARY, text_of
from syscalls.driver import TokenScore

OWN = math.log(0.9)
OTHER = math.log(0.1 / (VOCABULARY - 1))


def scores_of(ids: Sequence[int], expected: Sequence[int]) -> tuple[TokenScore, ...]:
    """The tokens of a continuation beside what greedy decoding says; after its end every token is an other."""
    said = [*expected[: len(ids)], *([-1] * (len(ids) - len(expected)))]
    return tuple(
        TokenScore(logprob=OWN if token == own else OTHER, greedy=token == own, id=token, text=text_of((token,)))
        for token, own in zip(ids, said, strict=True)
    )

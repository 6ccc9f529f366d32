"""The guide: where certain heads ought to look, said to them directly.

A model that quotes has to find where the quote begins, and learns that from one token in sixty: on two cores that
takes longer than anybody waits. But whoever makes an episode knows where each token was copied from. So a few heads
are told, by the share of their attention that falls on the right token: in the first layers to look at the token
before, then at the same word elsewhere and at the beginning of the sentence, then at what gives the wanted sentence
away, at last at the very token to say next. What they do with it, and all other heads, is free.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import torch

from drivers.tiny.network import Seen

BEFORE, BEFORE_THAT, SAME, START = "before", "before_that", "same", "start"
AGAIN, SHOWS, POINT = "again", "shows", "point"
HEADS: Final[Mapping[str, tuple[int, int]]] = {
    BEFORE: (0, 0),
    BEFORE_THAT: (0, 1),
    SAME: (1, 0),
    START: (1, 1),
    AGAIN: (2, 0),
    SHOWS: (3, 0),
    POINT: (4, 0),
}
"""For each duty the layer and the head, lower layers first.

The same word is looked for twice: where a sentence begins is known to its words from the second layer on only, so
that whoever asks after the text has to look there once more.
"""


class Looks(msgspec.Struct, frozen=True):
    """One duty's demands, a row each: row of the batch, token that looks, first and past-last token to look at."""

    duty: str
    demands: torch.Tensor


def loss_of(seen: Seen, looks: tuple[Looks, ...]) -> torch.Tensor:
    """How far the guided heads look away: minus the logarithm of the share on what was demanded, over all duties."""
    lost = [_lost(seen, each) for each in looks if len(each.demands)]
    return torch.stack(lost).mean() if lost else seen.hidden.new_zeros((), dtype=torch.float32)


def shares_of(seen: Seen, looks: tuple[Looks, ...]) -> dict[str, float]:
    """For each duty the share of attention that falls where it should (a geometric mean)."""
    return {each.duty: float(torch.exp(-_lost(seen, each))) for each in looks if len(each.demands)}


def _lost(seen: Seen, looks: Looks) -> torch.Tensor:
    which = list(HEADS).index(looks.duty)
    query, key = seen.queries[which], seen.keys[which]
    row, at, begin, end = looks.demands.unbind(1)
    scores = (query @ key.transpose(-1, -2))[row, at].float() * query.shape[-1] ** -0.5
    place = torch.arange(key.shape[-2])
    scores = scores.masked_fill(place > at[:, None], float("-inf"))
    wanted = (place >= begin[:, None]) & (place < end[:, None])
    return (scores.logsumexp(-1) - scores.masked_fill(~wanted, float("-inf")).logsumexp(-1)).mean()

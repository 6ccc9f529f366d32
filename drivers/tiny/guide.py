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
from torch.nn import functional

from drivers.tiny import marks
from drivers.tiny.network import Seen

BEFORE, BEFORE_THAT, SAME, START = "before", "before_that", "same", "start"
AGAIN, SHOWS, POINT = "again", "shows", "point"
CHOOSE, BEGIN = "choose", "begin"
HEADS: Final[Mapping[str, tuple[int, int]]] = {
    BEFORE: (0, 0),
    BEFORE_THAT: (0, 1),
    SAME: (1, 0),
    START: (1, 1),
    AGAIN: (2, 0),
    SHOWS: (3, 0),
    CHOOSE: (3, 0),
    POINT: (4, 0),
    BEGIN: (4, 0),
}
"""For each duty the layer and the head, lower layers first; two duties of one head are what it does all along, and
what it does where a value begins, which would drown in the other.

The same word is looked for twice: where a sentence begins is known to its words from the second layer on only, so
that whoever asks after the text has to look there once more.
"""

WITHIN, FOUND, CHOSEN = 1, 2, 3
KNOWING: Final = (WITHIN, FOUND, CHOSEN)
"""Behind which layers a token ought to know a sentence's mark: the one it stands in, the one that the words asked
for were found in, the one to quote."""


class Looks(msgspec.Struct, frozen=True):
    """One duty's demands, a row each: row of the batch, token that looks, first and past-last token to look at."""

    duty: str
    demands: torch.Tensor


class Known(msgspec.Struct, frozen=True):
    """What is known behind a layer, a row each: row of the batch, token, number of the mark."""

    layer: int
    facts: torch.Tensor


class Readers:
    """Reads the number of a mark out of hidden states; nothing of it is left in the model."""

    def __init__(self, width: int) -> None:
        self._of = {layer: torch.nn.Linear(width, marks.COUNT) for layer in KNOWING}

    def parameters(self) -> list[torch.nn.Parameter]:
        """To be trained with the model's own."""
        return [parameter for reader in self._of.values() for parameter in reader.parameters()]

    def loss_of(self, seen: Seen, known: tuple[Known, ...]) -> torch.Tensor:
        """How badly the numbers are known, over all layers."""
        lost = []
        for each in known:
            if not len(each.facts):
                continue
            row, at, number = each.facts.unbind(1)
            state = seen.states[each.layer][row, at].float()
            told = self._of[each.layer](functional.rms_norm(state, state.shape[-1:]))
            lost.append(functional.cross_entropy(told, number))
        return torch.stack(lost).mean() if lost else seen.hidden.new_zeros((), dtype=torch.float32)


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

"""The course: eleven rounds, each with its own stages, and the rate at each step."""

from collections.abc import Mapping

import msgspec

from drivers.tiny import guide
from drivers.tiny.corpus import SHARES
from drivers.tiny.requests import QUOTED_SHARE, SHOUTED_SHARE
from drivers.tiny.rows import Packer, Rows

WARM_SHARE = 0.0267
LONG_ROWS, LONG_TOKENS, LONG_WHOLE_SHARE = 2, 2048, 0.5
_LATER = frozenset(guide.HEADS) - {guide.BEFORE, guide.BEFORE_THAT}


class Stage(msgspec.Struct, frozen=True):
    """A part of the course: until that share of the steps, so many rows of so many tokens, passages up to so long.

    One batch in `long_every` has LONG_ROWS rows of LONG_TOKENS instead; `shares` of kinds of episodes are the corpus's
    own where nothing is said.
    """

    until_share: float
    rows: int
    tokens: int
    passage_chars: int
    scrambled_share: float
    spoiled_share: float
    guide_weight: float
    answers: int = SHARES["answer"]
    whole_share: float = 1.0
    alike_share: float = 0.0
    shouted_share: float = SHOUTED_SHARE
    quoted_share: float = QUOTED_SHARE
    shares: Mapping[str, int] = {}
    long_every: int = 0

    def batch(self, packer: Packer, step: int) -> Rows:
        """The batch of that step, from the packer and its corpus set for this part."""
        long = self.long_every > 0 and step % self.long_every == self.long_every - 1
        rows, tokens = (LONG_ROWS, LONG_TOKENS) if long else (self.rows, self.tokens)
        corpus, packer.whole_share = packer.corpus, LONG_WHOLE_SHARE if long else self.whole_share
        corpus.shares |= {"answer": self.answers, **self.shares}
        corpus.longest_chars, corpus.alike_share = self.passage_chars, self.alike_share
        corpus.scrambled_share, corpus.spoiled_share = self.scrambled_share, self.spoiled_share
        corpus.shouted_share, corpus.quoted_share = self.shouted_share, self.quoted_share
        return packer.batch(rows=rows, tokens=tokens)


class Round(msgspec.Struct, frozen=True):
    """A course, how many steps it has, and the share of the full rate at which it begins and ends; when it cools.

    `hands` processes go through it side by side, each on a corpus of its own, and every `meets_every` steps all go on
    from the mean of their weights.
    """

    course: tuple[Stage, ...]
    steps: int
    first_rate: float
    last_rate: float
    cools_at_share: float = 0.0
    guided: frozenset[str] = _LATER
    marked: bool = True
    known_weight: float = 0.0
    hands: int = 1
    meets_every: int = 80

    def rate_at(self, share: float) -> float:
        """Up, level, then down in a straight line: a share of the full rate, that far into the round."""
        cooled = max(0.0, share - self.cools_at_share) / (1 - self.cools_at_share)
        return min(self.first_rate + (self.last_rate - self.first_rate) * cooled, self.first_rate * share / WARM_SHARE)


_AT_FIRST = frozenset(guide.HEADS) - {guide.CHOOSE, guide.BEGIN}
# Short and clean at first, so that the guided heads find their places; then wide.
FIRST = Round(
    (
        Stage(0.16, 32, 128, 100, 0.0, 0.0, 1.0),
        Stage(0.4667, 32, 128, 160, 0.15, 0.1, 0.5),
        Stage(1.0, 16, 256, 420, 0.15, 0.1, 0.3),
    ),
    steps=2250,
    first_rate=1.0,
    last_rate=0.4167,
    cools_at_share=0.5333,
    guided=_AT_FIRST - {guide.AGAIN},
    marked=False,
)
# What is left after it is to find sentences in longer texts; rows as long as a window last.
SECOND = Round(
    (
        Stage(0.5, 16, 256, 420, 0.12, 0.1, 0.5, answers=42),
        Stage(0.96, 8, 512, 700, 0.12, 0.1, 0.3, answers=36),
        Stage(1.0, 1, 3072, 700, 0.12, 0.1, 0.3),
    ),
    steps=1150,
    first_rate=0.4167,
    last_rate=0.0,
    guided=_AT_FIRST,
    marked=False,
)
# From here on the template numbers the sentences; most episodes end with their call, for what comes behind is learned.
# Briskly at first, on short texts and many questions, until the mark is handed on from head to head.
THIRD = Round(
    (
        Stage(0.68, 8, 512, 250, 0.1, 0.1, 0.5, answers=60, whole_share=0.08),
        Stage(1.0, 8, 512, 700, 0.1, 0.1, 0.3, answers=36, whole_share=0.12),
    ),
    steps=500,
    first_rate=0.5,
    last_rate=0.5,
    known_weight=1.0,
)
FOURTH = Round(
    (Stage(1.0, 8, 512, 700, 0.1, 0.1, 0.3, answers=36, whole_share=0.12),),
    steps=250,
    first_rate=0.45,
    last_rate=0.31,
    known_weight=0.3,
)
FIFTH = Round(
    (Stage(1.0, 8, 512, 700, 0.1, 0.1, 0.3, answers=30, whole_share=0.12),),
    steps=400,
    first_rate=0.33,
    last_rate=0.183,
    known_weight=0.3,
)
SIXTH = Round(
    (
        Stage(0.95, 8, 512, 700, 0.06, 0.08, 0.3, answers=28, whole_share=0.3),
        Stage(1.0, 2, 2048, 700, 0.06, 0.08, 0.3, whole_share=0.5),
    ),
    steps=540,
    first_rate=0.19,
    last_rate=0.0,
    known_weight=0.1,
)
# Pages as programs show them, several at once, and sentences that hardly differ; on both cores.
SEVENTH = Round(
    (
        Stage(
            1.0, 8, 512, 700, 0.09, 0.08, 0.3, answers=28, whole_share=0.2, alike_share=0.25,
            shares={"talk": 5, "pages": 3, "shown": 16}, long_every=3,
        ),
    ),
    steps=2900,
    first_rate=0.28,
    last_rate=0.0,
    known_weight=0.1,
    hands=2,
)  # fmt: skip
# With little noise, to settle where values begin and end.
_CALM = msgspec.structs.replace(
    SEVENTH.course[0],
    scrambled_share=0.03,
    spoiled_share=0.04,
    shares={"lookup": 20, "recall": 30, "talk": 4, "pages": 3, "shown": 14},
)
EIGHTH = msgspec.structs.replace(SEVENTH, course=(_CALM,), steps=600, first_rate=0.08)
# From here on what was still wrong is shown more often: first in a brisk round that is left halfway, then, with values
# in quotes and requests in capitals, until the rate is nothing.
_BRISK = msgspec.structs.replace(_CALM, scrambled_share=0.04, spoiled_share=0.05, alike_share=0.3)
NINTH = msgspec.structs.replace(SEVENTH, course=(_BRISK,), steps=800, first_rate=0.22, last_rate=0.155)
_LOUD = msgspec.structs.replace(
    _BRISK,
    shouted_share=0.12,
    quoted_share=0.2,
    shares={"calculate": 24, "lookup": 24, "recall": 30, "remember": 18, "talk": 4, "pages": 2, "shown": 10},
)
TENTH = msgspec.structs.replace(SEVENTH, course=(_LOUD,), steps=2150, first_rate=0.18)
# Quotes above all, with hardly any noise.
_QUOTING = msgspec.structs.replace(
    _LOUD,
    scrambled_share=0.02,
    spoiled_share=0.03,
    alike_share=0.4,
    shouted_share=0.1,
    quoted_share=0.15,
    answers=46,
    shares={"calculate": 14, "lookup": 18, "recall": 34, "remember": 12, "talk": 3, "pages": 2, "shown": 12},
)
ELEVENTH = msgspec.structs.replace(SEVENTH, course=(_QUOTING,), steps=460, first_rate=0.08)
ROUNDS = (FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH, SEVENTH, EIGHTH, NINTH, TENTH, ELEVENTH)

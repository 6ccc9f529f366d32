"""Recall: the pages of a conversation that are nearest to a question, in meaning and in words, stored yet or not.

Hits of the store are united with an exact scan of what was written lately, so that a process can recall what it wrote
a moment ago and gets the same passages however far the indexer is. Words in common count as much as meaning: a question
that names a thing by a rare word is about the page that has the word, which the vector of a whole page hardly tells.
Where there is no embedding device, or its host does not come back, words in common decide alone.
"""

import itertools
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import mul
from typing import final

import trio
from msgspec import Struct

from kernel.mm.index import Vectors, address_of

WORD = re.compile(r"\w+")
MORE_HITS = 4
"""Hits asked of the store for each that is wanted: a page may have several vectors."""
WORDS_AT_ONCE = 4096
"""Read before others have their turn."""


@final
class Scored(Struct, frozen=True):
    """A page and how near it is, 1 for the same: the mean of the cosine and of the share of the question's words that
    it has, or that share alone."""

    address: str
    score: float


def similarity(a: bytes, b: bytes) -> float:
    """Cosine of two unit vectors of little-endian float32; 0 for vectors of different models."""
    return sum(map(mul, array("f", a), array("f", b))) if len(a) == len(b) else 0.0


async def scan(query: bytes, vectors: Mapping[str, Vectors]) -> dict[str, float]:
    """The best similarity of each page, by looking at all of them; lets others run between."""
    scores: dict[str, float] = {}
    for at, (address, made) in enumerate(vectors.items()):
        if made:
            scores[address] = max(similarity(query, vector) for vector in made)
        if at % 64 == 63:
            await trio.lowlevel.checkpoint()
    return scores


def unite(scores: Mapping[str, float], ids: Sequence[str], found: Sequence[float]) -> dict[str, float]:
    """Adds the store's hits to scores of a scan; the better one counts."""
    united = dict(scores)
    for each, score in zip(ids, found, strict=True):
        address = address_of(each)
        united[address] = max(score, united.get(address, -1.0))
    return united


def rank(scores: Mapping[str, float], order: Mapping[str, int]) -> list[Scored]:
    """Best first, of equals the earlier page; pages that are not in `order` are left out."""
    known = [Scored(address, score) for address, score in scores.items() if address in order]
    return sorted(known, key=lambda each: (-round(each.score, 6), order[each.address]))


def fuse(near: Mapping[str, float], shared: Mapping[str, float]) -> dict[str, float]:
    """The mean of both for every page of either. A page whose cosine is not known is as far as the farthest that is."""
    farthest = min(near.values(), default=0.0)
    return {each: (near.get(each, farthest) + shared.get(each, 0.0)) / 2 for each in {**near, **shared}}


async def in_common(query: str, texts: Mapping[str, str]) -> dict[str, float]:
    """For each text the share of the question's words that it has; rare words count more. Lets others run between."""
    asked = set(words(query))
    having: dict[str, set[str]] = {}
    read = itertools.count(1)
    for address, text in texts.items():
        found = having[address] = set()
        for word in words(text):
            if word in asked:
                found.add(word)
            if next(read) % WORDS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
    times = Counter(word for each in having.values() for word in each)
    weight = {word: 1.0 / (1 + times[word]) for word in asked}
    total = sum(weight.values()) or 1.0
    return {address: sum(weight[word] for word in each) / total for address, each in having.items() if each}


def words(text: str) -> Iterable[str]:
    """Words, case aside."""
    return (found.group().casefold() for found in WORD.finditer(text))

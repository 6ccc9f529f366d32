"""Rows of tokens: episodes laid end to end, with a weight on each token to say, and where each should look."""

from bisect import bisect_left, bisect_right

import msgspec
import torch
from tokenizers import Tokenizer

from drivers.tiny import guide, wire
from drivers.tiny.corpus import Corpus, Episode
from drivers.tiny.guide import Looks
from drivers.tiny.spans import Copy, Match, Notes, Span

# Of sixty tokens said, three decide: which tool, where the value begins, where it ends. Copying the rest is
# learned anyway; weighed alike, the deciding ones drown (0.4 of loss, and every second request to the wrong tool).
_FIRST_WEIGHT, _NEXT_WEIGHT, _LAST_WEIGHT, _PLAIN_WEIGHT = 10.0, 3.0, 5.0, 0.5
_NEXT_TOKENS = 3
_NAME = '"name": "'
_SAID_BEFORE = 2  # look-backs are told to one token in so many: they are learned at once

Demand = tuple[int, int, int]
"""A token that looks, the first to look at and the one past the last."""


class Rows(msgspec.Struct, frozen=True):
    """A batch: ids and weights, both rows x tokens; weight[i] is for saying ids[i]; `looks` guide some heads."""

    ids: torch.Tensor
    weights: torch.Tensor
    looks: tuple[Looks, ...]


class Piece(msgspec.Struct):
    """An episode in tokens."""

    ids: list[int]
    weights: list[float]
    looks: dict[str, list[Demand]]


def piece_of(cutter: Tokenizer, episode: Episode) -> Piece:
    """The episode's tokens, their weights (nothing but what the assistant says has one), and its demands."""
    piece = Piece([], [], {duty: [] for duty in guide.HEADS})
    rights: list[tuple[int, list[int]]] = []
    for turn in episode.turns:
        encoding = cutter.encode(wire.render(turn), add_special_tokens=False)
        lead = len(wire.START) + len(turn.role) + 1
        rights.append((len(piece.ids), [right - lead for _, right in encoding.offsets]))
        piece.ids += encoding.ids
        piece.weights += _plain(turn.role, rights[-1][1])
        if turn.role == "assistant" and _NAME in turn.text:
            place = Places(rights).tokens(Span(len(rights) - 1, turn.text.index(_NAME) + len(_NAME), len(turn.text)))
            piece.weights[place.start] = _FIRST_WEIGHT
    _mark(piece, Places(rights), episode.notes)
    return piece


def _plain(role: str, ends: list[int]) -> list[float]:
    """Weights for one turn by itself; its first token counts, for it says whether this is a call."""
    if role != "assistant":
        return [0.0] * len(ends)
    begin = bisect_left(ends, 0) + 1  # behind the line break that ends the turn's opening
    rest = len(ends) - begin - 2  # the line break behind the end mark is nobody's
    return [0.0] * begin + [_NEXT_WEIGHT] + [_PLAIN_WEIGHT] * rest + [0.0]


class Places:
    """Where in an episode's tokens a stretch of text is: each turn's first token, and its tokens' right ends.

    By the right ends: the left end of a word behind a quote is the quote.
    """

    def __init__(self, rights: list[tuple[int, list[int]]]) -> None:
        self._rights = rights

    def tokens(self, span: Span) -> range:
        """The tokens that end within the span."""
        first, ends = self._rights[span.turn]
        return range(first + bisect_right(ends, span.begin), first + bisect_right(ends, span.end))


def _mark(piece: Piece, places: Places, notes: Notes) -> None:
    for sentence in notes.sentences:
        inside = places.tokens(sentence)
        piece.looks[guide.START] += [(at, inside.start, inside.start + 1) for at in inside]
    for match in notes.matches:
        same = _same(piece.ids, places, match)
        piece.looks[guide.SAME] += same
        piece.looks[guide.AGAIN] += same
    for copy in notes.copies:
        _mark_copy(piece, places, copy)


def _same(ids: list[int], places: Places, match: Match) -> list[Demand]:
    earlier = places.tokens(match.earlier)
    found = {ids[at]: at for at in reversed(earlier)}
    return [(at, found[ids[at]], found[ids[at]] + 1) for at in places.tokens(match.later) if ids[at] in found]


def _mark_copy(piece: Piece, places: Places, copy: Copy) -> None:
    said, read = places.tokens(copy.said), places.tokens(copy.read)
    if not said or not read:
        return
    for at in said[1 : 1 + _NEXT_TOKENS]:
        piece.weights[at] = _NEXT_WEIGHT
    piece.weights[said.start], piece.weights[said.stop] = _FIRST_WEIGHT, _LAST_WEIGHT
    for at, source in zip(said, read, strict=False):
        if piece.ids[at] != piece.ids[source]:
            break
        piece.looks[guide.POINT].append((at - 1, source, source + 1))
    else:
        piece.looks[guide.POINT].append((said.stop - 1, read.stop, read.stop + 1))
    shown = [places.tokens(span) for span in copy.shows]
    for tokens in shown:
        piece.looks[guide.SHOWS] += [(at - 1, tokens.start, tokens.stop) for at in said if tokens]


class Packer:
    """Draws episodes and packs them; an episode that does not fit waits for the next row."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer) -> None:
        self.corpus, self.tokenizer = corpus, tokenizer
        self._waiting: list[Piece] = []

    def batch(self, *, rows: int, tokens: int) -> Rows:
        """A batch of that shape, the rest of a row padded with weight nought."""
        pad = self.tokenizer.token_to_id(wire.PAD)
        ids = torch.full((rows, tokens), pad, dtype=torch.long)
        weights = torch.zeros((rows, tokens))
        looks: dict[str, list[tuple[int, int, int, int]]] = {duty: [] for duty in guide.HEADS}
        for row in range(rows):
            piece = self._row(tokens)
            ids[row, : len(piece.ids)] = torch.tensor(piece.ids)
            weights[row, : len(piece.ids)] = torch.tensor(piece.weights)
            for duty, demands in piece.looks.items():
                looks[duty] += [(row, *demand) for demand in demands]
        return Rows(ids, weights, tuple(Looks(duty, torch.tensor(found).view(-1, 4)) for duty, found in looks.items()))

    def _row(self, tokens: int) -> Piece:
        system = self.corpus.system()
        row = piece_of(self.tokenizer, Episode("system", (system,))) if system else _empty()
        if len(row.ids) > tokens // 4:
            row = _empty()
        misses = 0
        while misses < 4 and len(row.ids) < tokens - 60:
            waits = bool(self._waiting) and misses == 0
            piece = self._waiting.pop(0) if waits else piece_of(self.tokenizer, self.corpus.episode())
            if len(piece.ids) > tokens:
                continue
            if len(row.ids) + len(piece.ids) > tokens:
                self._waiting.append(piece)
                misses += 1
                continue
            _join(row, piece)
        del self._waiting[64:]
        _look_back(row)
        return row


def _empty() -> Piece:
    return Piece([], [], {duty: [] for duty in guide.HEADS})


def _join(row: Piece, piece: Piece) -> None:
    shift = len(row.ids)
    row.ids += piece.ids
    row.weights += piece.weights
    for duty, demands in piece.looks.items():
        row.looks[duty] += [(at + shift, begin + shift, end + shift) for at, begin, end in demands]


def _look_back(row: Piece) -> None:
    for at in range(2, len(row.ids), _SAID_BEFORE):
        row.looks[guide.BEFORE].append((at, at - 1, at))
        row.looks[guide.BEFORE_THAT].append((at, at - 2, at - 1))

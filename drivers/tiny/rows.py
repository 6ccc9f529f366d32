"""Rows of tokens: episodes laid end to end, with a weight on each token to say, and where each should look."""

from bisect import bisect_left, bisect_right

import msgspec
import torch
from tokenizers import Tokenizer

from drivers.tiny import guide, marks, wire
from drivers.tiny.corpus import CALL, Corpus, Episode
from drivers.tiny.guide import Known, Looks
from drivers.tiny.spans import Copy, Match, Notes, Span
from drivers.tiny.wire import Turn

# Of sixty tokens said, three decide: which tool, where the value begins, where it ends. Copying the rest is
# learned anyway; weighed alike, the deciding ones drown (0.4 of loss, and every second request to the wrong tool).
_FIRST_WEIGHT, _NEXT_WEIGHT, _LAST_WEIGHT, _PLAIN_WEIGHT = 10.0, 3.0, 5.0, 0.5
_NEXT_TOKENS = 3
_NAME = '"name": "'
_SAID_BEFORE = 2  # look-backs are told to one token in so many: they are learned at once
# Where a value goes on or an operator comes is a choice, too; in a sum all is. Long quotes keep the plain weight.
_INNER_WEIGHTS = {"calculate": 3.0, "lookup": 1.5, "recall": 1.5, "remember": 1.5, "answer": 1.5, "shown": 1.5}
_QUOTED_WEIGHT = 1.0

Demand = tuple[int, int, int]
"""A token that looks, the first to look at and the one past the last."""


class Rows(msgspec.Struct, frozen=True):
    """A batch: ids and weights, both rows x tokens; weight[i] is for saying ids[i].

    `looks` guide some heads; `known` is what some layers ought to know.
    """

    ids: torch.Tensor
    weights: torch.Tensor
    looks: tuple[Looks, ...]
    known: tuple[Known, ...] = ()


class Piece(msgspec.Struct):
    """An episode in tokens."""

    ids: list[int]
    weights: list[float]
    looks: dict[str, list[Demand]]
    known: dict[int, list[tuple[int, int]]]


def called(episode: Episode) -> Episode:
    """The episode up to its call: what comes behind is as long again, and learned soon."""
    notes = episode.notes
    kept = Notes(
        tuple(copy for copy in notes.copies if copy.said.turn <= CALL),
        tuple(match for match in notes.matches if max(match.later.turn, match.earlier.turn) <= CALL),
        tuple(sentence for sentence in notes.sentences if sentence.turn <= CALL),
    )
    return Episode(episode.kind, episode.turns[: CALL + 1], notes=kept)


def piece_of(cutter: Tokenizer, episode: Episode, *, marked: bool = True) -> Piece:
    """The episode's tokens, their weights (nothing but what the assistant says has one), and its demands."""
    piece = _empty()
    rights: list[tuple[int, list[int]]] = []
    for turn in episode.turns:
        encoding = cutter.encode(wire.render(turn, marked=marked), add_special_tokens=False)
        ends = _unmarked(turn, [right for _, right in encoding.offsets], marked=marked)
        rights.append((len(piece.ids), ends))
        piece.ids += encoding.ids
        piece.weights += _plain(turn.role, ends)
        if turn.role == "assistant" and _NAME in turn.text:
            place = Places(rights).tokens(Span(len(rights) - 1, turn.text.index(_NAME) + len(_NAME), len(turn.text)))
            for at in place:
                piece.weights[at] = _INNER_WEIGHTS.get(episode.kind, _PLAIN_WEIGHT) if marked else _PLAIN_WEIGHT
            piece.weights[place.start] = _FIRST_WEIGHT
    _mark(piece, Places(rights), episode.notes, cutter.token_to_id(marks.NAMES[0]) if marked else None)
    return piece


def _unmarked(turn: Turn, ends: list[int], *, marked: bool) -> list[int]:
    """Right ends in the rendered turn as places in the turn's own text."""
    lead = len(wire.START) + len(turn.role) + 1
    ends = [end - lead for end in ends]
    if not marked or turn.role not in wire.MARKED_ROLES:
        return ends
    for place, count in marks.numbered(turn.text)[1]:  # what stands before a place is back at its own already
        ends = [end if end <= place else max(place, end - count) for end in ends]
    return ends


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


def _mark(piece: Piece, places: Places, notes: Notes, first_mark: int | None) -> None:
    numbers: list[tuple[Span, int]] = []
    for sentence in notes.sentences:
        inside = places.tokens(sentence)
        number = _number(piece.ids[inside.start - 1], first_mark)
        start = inside.start if number is None else inside.start - 1
        piece.looks[guide.START] += [(at, start, start + 1) for at in inside]
        if number is not None:
            numbers.append((sentence, number))
            piece.known[guide.WITHIN] += [(at, number) for at in inside]
    for match in notes.matches:
        same = _same(piece.ids, places, match)
        piece.looks[guide.SAME] += same
        piece.looks[guide.AGAIN] += same
        number = _of(numbers, match.earlier, match.later)
        if number is not None:
            piece.known[guide.FOUND] += [(at, number) for at, *_ in same]
    for copy in notes.copies:
        _mark_copy(piece, places, copy, first_mark)
        number = _of(numbers, copy.read)
        if number is not None:
            said = places.tokens(copy.said)
            piece.known[guide.CHOSEN] += [(at - 1, number) for at in said]


def _number(id_: int, first_mark: int | None) -> int | None:
    """Which mark that token is, if it is one."""
    return None if first_mark is None or not 0 <= id_ - first_mark < marks.COUNT else id_ - first_mark


def _of(numbers: list[tuple[Span, int]], *spans: Span) -> int | None:
    """The number of the sentence in which one of the spans is."""
    for sentence, number in numbers:
        for span in spans:
            if span.turn == sentence.turn and sentence.begin <= span.begin < sentence.end:
                return number
    return None


def _same(ids: list[int], places: Places, match: Match) -> list[Demand]:
    earlier = places.tokens(match.earlier)
    found = {ids[at]: at for at in reversed(earlier)}
    return [(at, found[ids[at]], found[ids[at]] + 1) for at in places.tokens(match.later) if ids[at] in found]


def _mark_copy(piece: Piece, places: Places, copy: Copy, first_mark: int | None) -> None:
    said = places.tokens(copy.said)
    read = [at for at in places.tokens(copy.read) if _number(piece.ids[at], first_mark) is None]
    if not said or not read:
        return
    for at in said if first_mark is not None else ():
        piece.weights[at] = max(piece.weights[at], _QUOTED_WEIGHT)
    for at in said[1 : 1 + _NEXT_TOKENS]:
        piece.weights[at] = _NEXT_WEIGHT
    piece.weights[said.start] = _FIRST_WEIGHT
    if first_mark is None:
        piece.weights[said.stop] = _LAST_WEIGHT
    elif len(said) <= _NEXT_TOKENS:  # what would go on there weighs as much: otherwise values end early
        piece.weights[said.stop] = _NEXT_WEIGHT
    for at, source in zip(said, read, strict=False):
        if piece.ids[at] != piece.ids[source]:
            break
        piece.looks[guide.POINT].append((at - 1, source, source + 1))
        if at == said.start:
            piece.looks[guide.BEGIN].append((at - 1, source, source + 1))
    else:
        piece.looks[guide.POINT].append((said.stop - 1, read[-1] + 1, read[-1] + 2))
    shown = [places.tokens(span) for span in copy.shows]
    for tokens in shown:
        piece.looks[guide.SHOWS] += [(at - 1, tokens.start, tokens.stop) for at in said if tokens]
        piece.looks[guide.CHOOSE] += [(said.start - 1, tokens.start, tokens.stop)] if tokens else []


class Packer:
    """Draws episodes and packs them; an episode that does not fit waits for the next row.

    `whole_share` of them go on behind the call.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, *, marked: bool = True, whole_share: float = 1.0) -> None:
        self.corpus, self.tokenizer = corpus, tokenizer
        self.marked, self.whole_share = marked, whole_share
        self._waiting: list[Piece] = []

    def batch(self, *, rows: int, tokens: int) -> Rows:
        """A batch of that shape, the rest of a row padded with weight nought."""
        pad = self.tokenizer.token_to_id(wire.PAD)
        ids = torch.full((rows, tokens), pad, dtype=torch.long)
        weights = torch.zeros((rows, tokens))
        looks: dict[str, list[tuple[int, int, int, int]]] = {duty: [] for duty in guide.HEADS}
        known: dict[int, list[tuple[int, int, int]]] = {layer: [] for layer in guide.KNOWING}
        for row in range(rows):
            piece = self._row(tokens)
            ids[row, : len(piece.ids)] = torch.tensor(piece.ids)
            weights[row, : len(piece.ids)] = torch.tensor(piece.weights)
            for duty, demands in piece.looks.items():
                looks[duty] += [(row, *demand) for demand in demands]
            for layer, facts in piece.known.items():
                known[layer] += [(row, *fact) for fact in facts]
        return Rows(
            ids,
            weights,
            tuple(Looks(duty, torch.tensor(found).view(-1, 4)) for duty, found in looks.items()),
            tuple(Known(layer, torch.tensor(facts).view(-1, 3)) for layer, facts in known.items()),
        )

    def _piece(self) -> Piece:
        episode = self.corpus.episode()
        whole = episode.kind == "shown" or self.corpus.rng.random() < self.whole_share
        return piece_of(self.tokenizer, episode if whole else called(episode), marked=self.marked)

    def _row(self, tokens: int) -> Piece:
        system = self.corpus.system()
        row = piece_of(self.tokenizer, Episode("system", (system,)), marked=self.marked) if system else _empty()
        if len(row.ids) > tokens // 4:
            row = _empty()
        misses = 0
        while misses < 4 and len(row.ids) < tokens - 60:
            waits = bool(self._waiting) and misses == 0
            piece = self._waiting.pop(0) if waits else self._piece()
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
    return Piece([], [], {duty: [] for duty in guide.HEADS}, {layer: [] for layer in guide.KNOWING})


def _join(row: Piece, piece: Piece) -> None:
    shift = len(row.ids)
    row.ids += piece.ids
    row.weights += piece.weights
    for duty, demands in piece.looks.items():
        row.looks[duty] += [(at + shift, begin + shift, end + shift) for at, begin, end in demands]
    for layer, facts in piece.known.items():
        row.known[layer] += [(at + shift, number) for at, number in facts]


def _look_back(row: Piece) -> None:
    for at in range(2, len(row.ids), _SAID_BEFORE):
        row.looks[guide.BEFORE].append((at, at - 1, at))
        row.looks[guide.BEFORE_THAT].append((at, at - 2, at - 1))

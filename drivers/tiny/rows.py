"""Rows of tokens: episodes laid end to end, with a weight on each token that the model has to say."""

import msgspec
import torch
from tokenizers import Tokenizer

from drivers.tiny import wire
from drivers.tiny.corpus import Corpus

# Of sixty tokens said, three decide: which tool, where the value begins, where it ends. Copying the rest is
# learned anyway; weighed alike, the deciding ones drown (0.4 of loss, and every second request to the wrong tool).
_FIRST_WEIGHT, _NEXT_WEIGHT, _LAST_WEIGHT, _PLAIN_WEIGHT = 12.0, 4.0, 4.0, 0.5
_NEXT_CHARS = 10
_NAME = '"name": "'
_LEADS = ('"text": "', '"query": "', '"term": "', '"expression": "', ' say: "', ' says: "', ' me: "', "result is ")


class Rows(msgspec.Struct, frozen=True):
    """A batch: ids and weights, both rows x tokens; weight[i] is for saying ids[i]."""

    ids: torch.Tensor
    weights: torch.Tensor


def turn_tokens(tokenizer: Tokenizer, turn: wire.Turn) -> tuple[list[int], list[float]]:
    """The turn's ids, and their weights: nothing but what the assistant says has one."""
    text = wire.render(turn)
    encoding = tokenizer.encode(text, add_special_tokens=False)
    if turn.role != "assistant":
        return encoding.ids, [0.0] * len(encoding.ids)
    begin = len(tokenizer.encode(f"{wire.START}assistant\n", add_special_tokens=False).ids)
    weights = _weights(text, [right for _, right in encoding.offsets])
    last = len(encoding.ids) - 1  # the line break behind the end mark is nobody's
    return encoding.ids, [0.0] * begin + weights[begin:last] + [0.0]


def _weights(text: str, rights: list[int]) -> list[float]:
    """A weight for each token, found by its right end: the left end of a word behind a quote is the quote."""
    weights = [_PLAIN_WEIGHT] * len(rights)
    starts = [text.index(lead) + len(lead) for lead in _LEADS if lead in text]
    for i, right in enumerate(rights):
        if any(at < right <= at + _NEXT_CHARS for at in starts):
            weights[i] = _NEXT_WEIGHT
    firsts = starts + ([text.index(_NAME) + len(_NAME)] if _NAME in text else [])
    for at in firsts:
        weights[next(i for i, right in enumerate(rights) if right > at)] = _FIRST_WEIGHT
    if starts and '"' in text[starts[0] :]:
        end = text.rindex('"')
        weights[next(i for i, right in enumerate(rights) if right > end)] = _LAST_WEIGHT
    return weights


class Packer:
    """Draws episodes and packs them; an episode that does not fit waits for the next row."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer) -> None:
        self.corpus, self.tokenizer = corpus, tokenizer
        self._waiting: list[tuple[list[int], list[float]]] = []

    def batch(self, *, rows: int, tokens: int) -> Rows:
        """A batch of that shape, the rest of a row padded with weight nought."""
        pad = self.tokenizer.token_to_id(wire.PAD)
        ids = torch.full((rows, tokens), pad, dtype=torch.long)
        weights = torch.zeros((rows, tokens))
        for row in range(rows):
            said, counts = self._row(tokens)
            ids[row, : len(said)] = torch.tensor(said)
            weights[row, : len(counts)] = torch.tensor(counts)
        return Rows(ids, weights)

    def _row(self, tokens: int) -> tuple[list[int], list[float]]:
        system = self.corpus.system()
        ids, weights = turn_tokens(self.tokenizer, system) if system else ([], [])
        if len(ids) > tokens // 2:
            ids, weights = [], []
        misses = 0
        while misses < 4 and len(ids) < tokens - 60:
            piece = self._waiting.pop(0) if self._waiting and misses == 0 else self._draw()
            if len(piece[0]) > tokens:
                continue
            if len(ids) + len(piece[0]) > tokens:
                self._waiting.append(piece)
                misses += 1
                continue
            ids, weights = ids + piece[0], weights + piece[1]
        del self._waiting[64:]
        return ids, weights

    def _draw(self) -> tuple[list[int], list[float]]:
        ids, weights = list[int](), list[float]()
        for turn in self.corpus.episode().turns:
            more, counts = turn_tokens(self.tokenizer, turn)
            ids, weights = ids + more, weights + counts
        return ids, weights

"""Rows of tokens: episodes laid end to end, with a weight on each token that the model has to say."""

import msgspec
import torch
from tokenizers import Tokenizer

from drivers.tiny import wire
from drivers.tiny.corpus import Corpus

# Where to begin is the hard part of quoting, and one token of forty: its first tokens count more.
_START_CHARS, _START_WEIGHT = 10, 4.0
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
    starts = [text.index(lead) + len(lead) for lead in _LEADS if lead in text]
    # By right ends: the left end of a word behind a quote is the quote (see `tokenizer`).
    hard = [any(at < right <= at + _START_CHARS for at in starts) for _, right in encoding.offsets]
    weights = [_START_WEIGHT if high else 1.0 for high in hard]
    last = len(encoding.ids) - 1  # the line break behind the end mark is nobody's
    return encoding.ids, [0.0] * begin + weights[begin:last] + [0.0]


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
        ids, weights = [], []
        for turn in self.corpus.episode().turns:
            more, counts = turn_tokens(self.tokenizer, turn)
            ids, weights = ids + more, weights + counts
        return ids, weights

"""Keys and values of all running sequences: one row each, in tensors that are written in place and grow by doubling.

A row begins at index 0, whatever its length, so that the index of a key is its position; rows that decode lie
together at the front, so that a step reads them as one view without a copy. (Concatenating a DynamicCache each step
copies everything for every token; left padding ties all rows to the longest.)
"""

from collections.abc import Sequence
from typing import Any, final

import torch
from msgspec import Struct
from transformers.cache_utils import Cache, CacheLayerMixin

LENGTH_MIN = 256

Snapshot = list[tuple[Any, Any]]
"""Keys and values of one sequence, layer by layer: tensors [heads, tokens, dimensions]."""


@final
class Prefill(Struct, frozen=True):
    """`count` tokens of one row, from `start` on."""

    row: int
    start: int
    count: int


@final
class Decode(Struct, frozen=True):
    """One token for each of the first rows; `lengths` (a tensor) says where each is written, `longest` is their
    maximum."""

    lengths: Any
    index: Any
    longest: int


@final
class _Layer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's tensors [rows, heads, length, dimensions]; zeros where nothing was written, so that what a mask
    hides is finite."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.keys: Any = None
        self.values: Any = None

    def room(self, rows: int, length: int) -> None:
        if self.keys is not None and (self.keys.shape[0] < rows or self.keys.shape[2] < length):
            self.keys, self.values = _grown(self.keys, rows, length), _grown(self.values, rows, length)

    def make(self, rows: int, length: int, keys: Any, values: Any) -> None:
        """Tensors for rows like these [heads, tokens, dimensions]."""
        self.keys = keys.new_zeros((rows, keys.shape[0], length, keys.shape[2]))
        self.values = values.new_zeros((rows, values.shape[0], length, values.shape[2]))
        self.is_initialized = True

    def write(self, keys: Any, values: Any, span: Prefill | Decode, *, rows: int, length: int) -> tuple[Any, Any]:
        if self.keys is None:
            self.make(rows, length, keys[0], values[0])
        if isinstance(span, Prefill):
            end = span.start + span.count
            self.keys[span.row, :, span.start : end] = keys[0]
            self.values[span.row, :, span.start : end] = values[0]
            return self.keys[span.row : span.row + 1, :, :end], self.values[span.row : span.row + 1, :, :end]
        self.keys[span.index, :, span.lengths] = keys[:, :, 0]
        self.values[span.index, :, span.lengths] = values[:, :, 0]
        count = len(span.index)
        return self.keys[:count, :, : span.longest + 1], self.values[:count, :, : span.longest + 1]

    # What transformers asks of a layer, none of which the engine uses.

    def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
        raise NotImplementedError

    def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


@final
class RowCache(Cache):  # type: ignore[misc]
    """What a model is given as `past_key_values`. The engine sets `span` before each forward."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.span: Prefill | Decode | None = None
        self._rows = 0
        self._length = LENGTH_MIN

    def reserve(self, rows: int, length: int) -> None:
        """Makes room for `rows` rows of `length` tokens."""
        if rows <= self._rows and length <= self._length:
            return
        self._rows = max(self._rows, rows)
        while self._length < length:
            self._length *= 2
        for layer in self.layers:
            layer.room(self._rows, self._length)

    def update(self, key_states: Any, value_states: Any, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        while len(self.layers) <= layer_idx:
            self.layers.append(_Layer())
        assert self.span is not None
        layer: _Layer = self.layers[layer_idx]
        return layer.write(key_states, value_states, self.span, rows=self._rows, length=self._length)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.span.start if isinstance(self.span, Prefill) else getattr(self.span, "longest", 0)

    def move(self, source: int, target: int, count: int) -> None:
        """Copies the first `count` tokens of one row over another."""
        if source != target:
            for layer in self.layers:
                layer.keys[target, :, :count] = layer.keys[source, :, :count]
                layer.values[target, :, :count] = layer.values[source, :, :count]

    def snapshot(self, row: int, count: int) -> Snapshot:
        """A copy of the first `count` tokens of a row."""
        return [(layer.keys[row, :, :count].clone(), layer.values[row, :, :count].clone()) for layer in self.layers]

    def restore(self, row: int, snapshot: Snapshot, count: int) -> None:
        """Writes the first `count` tokens of a snapshot into a row."""
        for keys, values in snapshot[len(self.layers) :]:
            layer = _Layer()
            layer.make(self._rows, self._length, keys, values)
            self.layers.append(layer)
        for layer, (keys, values) in zip(self.layers, snapshot, strict=True):
            layer.keys[row, :, :count] = keys[:, :count]
            layer.values[row, :, :count] = values[:, :count]

    @property
    def bytes(self) -> int:
        """How much memory the rows hold."""
        return sum(tensor_bytes(layer.keys) + tensor_bytes(layer.values) for layer in self.layers)

    def drop(self) -> None:
        """Gives the memory back."""
        self.layers.clear()
        self._rows, self._length = 0, LENGTH_MIN


def snapshot_bytes(snapshot: Snapshot) -> int:
    """How much memory a snapshot holds."""
    return sum(tensor_bytes(tensor) for pair in snapshot for tensor in pair)


def tensor_bytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def _grown(old: Any, rows: int, length: int) -> Any:
    new = old.new_zeros((rows, old.shape[1], length, old.shape[3]))
    new[: old.shape[0], :, : old.shape[2]] = old
    return new


def indices(values: Sequence[int], accelerator: Any) -> Any:
    """A tensor of int64."""
    return torch.tensor(values, dtype=torch.long, device=accelerator)

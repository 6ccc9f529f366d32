"""A small collection's vectors in one matrix, searched exactly: no approximate index misses what was just added."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

Matrix = Any  # numpy's own generics say less than the docstrings here


def matrix_of(data: bytes, dimensions: int) -> Matrix:
    """The vectors in `data` as unit rows; a zero vector stays zero."""
    return unit_rows(np.frombuffer(data, dtype="<f4").reshape(-1, dimensions))


def unit_rows(matrix: Matrix) -> Matrix:
    """Each row scaled to length 1, float32."""
    rows = np.asarray(matrix, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def best(ids: Sequence[str], rows: Matrix, wanted: Matrix, k: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The `k` ids whose rows are nearest to the unit vector `wanted`, with their cosines, best first."""
    scores = rows @ wanted
    order = sorted(range(len(ids)), key=lambda n: (-float(scores[n]), ids[n]))[:k]
    return tuple(ids[n] for n in order), tuple(float(scores[n]) for n in order)


@final
class Rows:
    """Unit rows by id. Room doubles when it is used up; a deleted row is overwritten by the last."""

    def __init__(self, dimensions: int) -> None:
        self._matrix = np.zeros((64, dimensions), dtype=np.float32)
        self._ids: list[str] = []
        self._place: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def put(self, ids: Sequence[str], rows: Matrix) -> None:
        """Inserts or replaces."""
        for each, row in zip(ids, rows, strict=True):
            at = self._place.setdefault(each, len(self._ids))
            if at == len(self._ids):
                self._ids.append(each)
                if at == len(self._matrix):
                    self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
            self._matrix[at] = row

    def drop(self, ids: Sequence[str]) -> None:
        """Forgets what is there of `ids`."""
        for each in ids:
            at = self._place.pop(each, None)
            if at is None:
                continue
            last = self._ids.pop()
            if last != each:
                self._ids[at], self._place[last] = last, at
                self._matrix[at] = self._matrix[len(self._ids)]

    def search(self, wanted: Matrix, k: int, only: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """The nearest `k`, among `only` if given."""
        if only is None:
            return best(self._ids, self._matrix[: len(self._ids)], wanted, k)
        among = [each for each in dict.fromkeys(only) if each in self._place]
        return best(among, self._matrix[[self._place[each] for each in among]], wanted, k)

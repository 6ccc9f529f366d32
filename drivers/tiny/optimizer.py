"""Muon: momentum whose update is made orthogonal, for the matrices; it learns to copy in half of Adam's steps.

After Keller Jordan (2024). In bfloat16 where the processor multiplies in it; elsewhere such products are emulated,
twenty times slower than float32.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch

from drivers.tiny.network import multiplies_bfloat16


def orthogonal(batch: torch.Tensor, *, rounds: int = 5) -> torch.Tensor:
    """Each matrix of the batch with its singular values near one (Newton-Schulz)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    batch = batch.bfloat16() if multiplies_bfloat16() else batch
    tall = batch.shape[-2] > batch.shape[-1]
    x = batch.mT if tall else batch
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(rounds):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x.mT if tall else x


class Muon:
    """`step()` moves the matrices; matrices of one shape go together."""

    def __init__(self, matrices: Iterable[torch.nn.Parameter], *, momentum: float = 0.95, decay: float = 0.01) -> None:
        self.momentum, self.decay = momentum, decay
        self._groups: dict[torch.Size, list[torch.nn.Parameter]] = defaultdict(list)
        for matrix in matrices:
            self._groups[matrix.shape].append(matrix)
        self._speed = {shape: torch.zeros(len(group), *shape) for shape, group in self._groups.items()}

    def step(self, rate: float) -> None:
        """One move along the gradients; a parameter without one is our mistake."""
        with torch.no_grad():
            self._step(rate)

    def _step(self, rate: float) -> None:
        for shape, group in self._groups.items():
            gradient = torch.stack([m.grad for m in group if m.grad is not None])
            assert len(gradient) == len(group)
            speed = self._speed[shape]
            speed.lerp_(gradient, 1 - self.momentum)
            update = orthogonal(gradient.lerp(speed, self.momentum))
            size = rate * max(1.0, shape[0] / shape[1]) ** 0.5
            for matrix, move in zip(group, update, strict=True):
                matrix.mul_(1 - rate * self.decay).add_(move, alpha=-size)
                matrix.grad = None

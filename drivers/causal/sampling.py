"""How the next token is chosen from logits: greedy, or by chance that depends on seed and position alone."""

import hashlib
from typing import Any

import torch

from syscalls.driver import Sampling


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) that depends on nothing else: what makes a resumed run go on identically."""
    draw = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    return int.from_bytes(draw, "big") / 2.0**64


def choose(logits: Any, sampling: Sampling, *, position: int) -> int:
    """The next id from one row of logits; `position` counts the ids generated before it."""
    if sampling.temperature <= 0.0:
        return int(logits.argmax())
    scaled = logits.double() / sampling.temperature
    chances, order = torch.softmax(scaled, -1).sort(descending=True, stable=True)
    up_to = chances.cumsum(-1)
    kept = int((up_to < sampling.top_p).sum()) + 1 if sampling.top_p < 1.0 else len(chances)
    kept = min(kept, len(chances))
    aim = uniform(sampling.seed, position) * float(up_to[kept - 1])
    return int(order[min(int(torch.searchsorted(up_to[:kept], aim, right=True)), kept - 1)])

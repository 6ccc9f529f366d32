"""What one model did for an account."""

from collections.abc import Mapping, Sequence
from typing import Self, final

from syscalls.resources import Resource

ORDER = ("jobs", "tokens_in", "tokens_out", "cached", "generation_us", "picos")


@final
class ModelUse:
    """Sums; money in picos."""

    __slots__ = ORDER

    def __init__(self) -> None:
        self.jobs = 0
        self.tokens_in = 0
        self.tokens_out = 0
        self.cached = 0
        self.generation_us = 0
        self.picos = 0

    @classmethod
    def of(cls, sums: Sequence[str]) -> Self:
        """As `sums` wrote it."""
        use = cls()
        for name, amount in zip(ORDER, sums, strict=False):
            setattr(use, name, int(amount))
        return use

    def sums(self) -> tuple[str, ...]:
        """For the truth: each as text, for picos may outgrow 64 bits."""
        return tuple(str(getattr(self, name)) for name in ORDER)

    def add(self, done: Mapping[Resource, int], cached: int) -> None:
        """One more job."""
        self.jobs += 1
        self.tokens_in += done.get(Resource.TOKENS_IN, 0)
        self.tokens_out += done.get(Resource.TOKENS_OUT, 0)
        self.cached += cached
        self.generation_us += done.get(Resource.GENERATION, 0)
        self.picos += done.get(Resource.MONEY, 0)

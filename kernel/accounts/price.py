"""Prices: what a model's work costs, in whole numbers.

A price is an integer of micro-units (millionths of the currency) for a million tokens, or for a second; so a token, or
a microsecond, costs as many *picos*, millionths of a micro-unit. Accounts count picos: nothing is ever rounded, and the
sum of a million small charges is exact. What crosses the ABI is micro-units; what was used is rounded up there.
"""

from decimal import Decimal
from typing import final

from msgspec import Struct

from syscalls.resources import MICRO

PICOS = 1_000_000
"""In one micro-unit."""
PRICE_MAX = 10**9


@final
class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the price table, `[prices.MODEL]` in kernos.toml: money for a million tokens read, generated, or read
    from the prefix cache (None: as those read), and for a second of generation."""

    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    cached_input: Decimal | None = None
    second: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            amount = getattr(self, name)
            if amount is None:
                continue
            if not amount.is_finite() or not 0 <= amount <= PRICE_MAX or amount * MICRO % 1:
                raise ValueError(f"{name} = {amount}: a price is 0 or more, with at most six decimals")

    @property
    def per_second(self) -> bool:
        """Whether time costs anything."""
        return self.second != 0

    @property
    def picos_out(self) -> int:
        """Of one generated token."""
        return int(self.output * MICRO)

    def cost(self, tokens_in: int, tokens_out: int, *, cached: int = 0, generation_us: int = 0) -> int:
        """Picos for work that was done; `cached` of the `tokens_in` came from the prefix cache."""
        cached_at = self.input if self.cached_input is None else self.cached_input
        return (
            (tokens_in - cached) * int(self.input * MICRO)
            + cached * int(cached_at * MICRO)
            + tokens_out * int(self.output * MICRO)
            + generation_us * int(self.second * MICRO)
        )

    def worst(self, tokens_in: int, tokens_out: int, *, generation_us: int = 0) -> int:
        """Picos that `cost` cannot exceed, whatever comes from the cache."""
        dearest = max(self.input, self.cached_input or Decimal(0))
        return self.cost(0, tokens_out, generation_us=generation_us) + tokens_in * int(dearest * MICRO)


FREE = Price()


def micros(picos: int) -> int:
    """Whole micro-units, rounded up: what was used is never shown as less."""
    return -(-picos // PICOS)

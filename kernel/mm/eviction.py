"""Which exchanges leave a full window first: the oldest, or as an extension's policy orders them."""

from collections.abc import Callable, Sequence
from typing import Any, final

from kernel.watchdog import Nonsense, Watched
from syscalls.errors import Invalid
from syscalls.hooks import EvictionPolicy, Exchange

OLDEST = "oldest"
Order = Callable[[Sequence[Exchange]], Sequence[int]]
"""The numbers of some exchanges, the first to go first."""


def oldest_first(exchanges: Sequence[Exchange]) -> Sequence[int]:
    """What nobody wants any more first, then by age."""
    return [each.number for each in sorted(exchanges, key=lambda each: (not each.unwanted, each.number))]


@final
class Evictor:
    """The order in force: that of an extension until it is disabled."""

    def __init__(self, policy: "str | Watched[EvictionPolicy]" = OLDEST) -> None:
        if isinstance(policy, str) and policy != OLDEST:
            raise Invalid(f"no eviction policy {policy!r}: there is {OLDEST}, and what trusted extensions bring")
        self._watched = None if isinstance(policy, str) else policy

    @property
    def name(self) -> str:
        return OLDEST if self._watched is None or self._watched.disabled else self._watched.name

    def order(self, exchanges: Sequence[Exchange]) -> Sequence[int]:
        """Every number once, whatever the policy says: those that it leaves out go last, the oldest first."""
        if self._watched is None or not exchanges:
            return oldest_first(exchanges)
        asked = tuple(exchanges)
        chosen = self._watched.ask(lambda policy: policy.order(asked), lambda answer: _accepted(answer, asked)) or ()
        there = frozenset(chosen)
        return (*chosen, *(number for number in oldest_first(asked) if number not in there))


def _accepted(answer: Any, exchanges: Sequence[Exchange]) -> tuple[int, ...]:
    """Raises Nonsense for anything but some of the numbers, each once."""
    if type(answer) not in (list, tuple) or len(answer) > len(exchanges):
        raise Nonsense(f"a {type(answer).__name__}, not a list of at most {len(exchanges)} numbers")
    numbers = tuple(answer)
    wrong = [each for each in numbers if type(each) is not int]
    if wrong or not set(numbers) <= {each.number for each in exchanges}:
        raise Nonsense("a number that is no exchange's")
    if len(set(numbers)) < len(numbers):
        raise Nonsense("an exchange twice")
    return numbers

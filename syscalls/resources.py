"""What an account limits: the resources by name, which of them are given back, and how amounts are written.

Amounts are whole numbers of the unit that stands last in the name: generation time in microseconds, money in
millionths of the price table's currency. Nothing here is ever a float.
"""

import re
from decimal import Decimal
from enum import IntEnum
from typing import Literal, get_args

ResourceName = Literal[
    "tokens_in", "tokens_out", "tokens", "generation_us", "calls", "money_micros", "bytes_stored", "processes",
    "contexts",
]  # fmt: skip


class Resource(IntEnum):
    """A resource by its place in an account's rows. TOKENS is the sum of the two before it."""

    TOKENS_IN = 0
    TOKENS_OUT = 1
    TOKENS = 2
    GENERATION = 3
    CALLS = 4
    MONEY = 5
    BYTES = 6
    PROCESSES = 7
    CONTEXTS = 8


NAMES: tuple[ResourceName, ...] = get_args(ResourceName)
BY_NAME: dict[str, Resource] = {name: Resource(at) for at, name in enumerate(NAMES)}
OCCUPIED = frozenset({Resource.BYTES, Resource.PROCESSES, Resource.CONTEXTS})
"""Given back when what it stands for is closed, forgotten or has ended; all others are used up."""
MICRO = 1_000_000
AMOUNT_MAX = 2**62
"""Of any limit or amount that crosses the ABI."""

_NUMBER = re.compile(r"(?P<number>[0-9]{1,30}(?:\.[0-9]{1,30})?)\s*(?P<unit>[a-z]*)")
_COUNT = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_WORDS: dict[str, tuple[ResourceName, dict[str, int]]] = {
    "tokens": ("tokens", _COUNT),
    "tokens_in": ("tokens_in", _COUNT),
    "tokens_out": ("tokens_out", _COUNT),
    "money": ("money_micros", {"": MICRO}),
    "generation": ("generation_us", {"": MICRO, "ms": 1000, "s": MICRO, "m": 60 * MICRO, "h": 3600 * MICRO}),
    "calls": ("calls", _COUNT),
    "bytes": ("bytes_stored", {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}),
    "processes": ("processes", _COUNT),
    "contexts": ("contexts", _COUNT),
}
WORDS = tuple(_WORDS)
"""What people write for the resources, as in `tokens=20k,money=0.50,generation=30s`."""


def parse_amount(word: str, text: str) -> tuple[ResourceName, int]:
    """`money`, `0.50` to (money_micros, 500000). Raises ValueError with the words or the units that there are."""
    if word not in WORDS:
        raise ValueError(f"no resource {word!r}: there are {', '.join(WORDS)}")
    name, units = _WORDS[word]
    found = _NUMBER.fullmatch(text.strip().lower().replace("_", ""))
    if found is None or found["unit"] not in units:
        known = ", ".join(each for each in units if each) or "none"
        raise ValueError(f"{word}={text}: write a number, 0 or more, with one of the units {known} if you like")
    amount = Decimal(found["number"]) * units[found["unit"]]
    if amount != amount.to_integral_value() or amount > AMOUNT_MAX:
        finest = "a millionth" if units[""] == MICRO else "1"
        raise ValueError(f"{word}={text}: nothing finer than {finest}, and at most {AMOUNT_MAX}")
    return name, int(amount)


def show_amount(resource: ResourceName | str, amount: int) -> str:
    """An amount for people: `1.250000` of money without its zeros, `2.5 s`, `12.0 KiB`, `20000`."""
    match resource:
        case "money_micros":
            text = f"{Decimal(amount) / MICRO:f}"
            return text if "." not in text else text.rstrip("0").rstrip(".")
        case "generation_us":
            return f"{Decimal(amount) / MICRO:.1f} s"
        case "bytes_stored":
            size, unit = Decimal(amount), "B"
            for larger in ("KiB", "MiB", "GiB", "TiB"):
                if size < 1024:
                    break
                size, unit = size / 1024, larger
            return f"{size:.1f} {unit}" if unit != "B" else f"{amount} B"
        case _:
            return str(amount)

"""What a worker may use of the machine it runs on: the limits by name, and how people write them.

Accounts count what the kernel serves (tokens, money, calls); these are of the worker itself, an OS process, and are
kept by the system or by the kernel's watch from outside.
"""

import re
from collections.abc import Mapping
from typing import final

from syscalls.row import Args

_KIB = 1024
_NUMBER = re.compile(r"(?P<number>[0-9]{1,15})\s*(?P<unit>[a-z]*)")
_BYTES = {"": 1, "k": _KIB, "kib": _KIB, "m": _KIB**2, "mib": _KIB**2, "g": _KIB**3, "gib": _KIB**3}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_COUNT = {"": 1}
WORDS = {
    "cpu": ("cpu_s", _SECONDS),
    "memory": ("memory_bytes", _BYTES),
    "processes": ("processes", _COUNT),
    "files": ("files", _COUNT),
    "file": ("file_bytes", _BYTES),
    "disk": ("disk_bytes", _BYTES),
    "output": ("output_bytes_s", _BYTES),
}
"""What people write, as in `memory=256m,cpu=10s`: the field, and the units."""
CALL_WORDS = {
    "cpu": ("cpu_s", _SECONDS),
    "memory": ("memory_bytes", _BYTES),
    "wall": ("wall_s", _SECONDS),
    "answer": ("answer_bytes", _BYTES),
}
"""As WORDS, of one call of a tool."""


@final
class WorkerLimits(Args, frozen=True, kw_only=True):
    """Limits of one worker; None is the parent's. `cpu_s` seconds of processor time; `memory_bytes` of address space;
    `processes` and threads; `files` descriptors that are open at once; `file_bytes` of one file that it writes;
    `disk_bytes` written to disk in all, by it and what it starts, deleted or not; `output_bytes_s` printed, with bursts
    of eight times that."""

    cpu_s: int | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    files: int | None = None
    file_bytes: int | None = None
    disk_bytes: int | None = None
    output_bytes_s: int | None = None


@final
class CallLimits(Args, frozen=True, kw_only=True):
    """Limits of one call of a tool; None is none. `cpu_s` seconds of processor time; `memory_bytes` of address space;
    `wall_s` seconds from its beginning to its end; `answer_bytes` of what it returns, or of all that it yields. A call
    with any but the last has a worker of its own, which ends with it, and counts what it takes to start."""

    cpu_s: int | None = None
    memory_bytes: int | None = None
    wall_s: float | None = None
    answer_bytes: int | None = None

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            amount = getattr(self, field)
            if amount is not None and not 0 < amount < 2**47:
                raise ValueError(f"{field} of a call is a number above 0")

    @property
    def alone(self) -> bool:
        """Whether the call needs a worker of its own: to end it, nobody else may be hurt."""
        return (self.cpu_s, self.memory_bytes, self.wall_s) != (None, None, None)


def least(*limits: CallLimits | None) -> CallLimits:
    """What keeps all of them."""
    there = [each for each in limits if each is not None]
    said = {
        field: [amount for each in there if (amount := getattr(each, field)) is not None]
        for field in CallLimits.__struct_fields__
    }
    return CallLimits(**{field: min(amounts) for field, amounts in said.items() if amounts})


def parse_limits(text: str) -> WorkerLimits:
    """`memory=256m,cpu=10s` as limits. Raises ValueError with the words or the units that there are."""
    return WorkerLimits(**_parsed(text, WORDS))


def parse_call_limits(text: str) -> CallLimits:
    """`cpu=2s,answer=64k` as limits of one call. Raises ValueError as `parse_limits`."""
    return CallLimits(**_parsed(text, CALL_WORDS))


def _parsed(text: str, words: Mapping[str, tuple[str, dict[str, int]]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for piece in text.split(","):
        word, _, amount = piece.strip().partition("=")
        if word not in words:
            raise ValueError(f"no limit {word!r}: there are {', '.join(words)}")
        field, units = words[word]
        number = _NUMBER.fullmatch(amount.strip().lower())
        if number is None or number["unit"] not in units:
            known = ", ".join(unit for unit in units if unit) or "none"
            raise ValueError(f"{word}={amount}: write a whole number, with one of the units {known} if you like")
        found[field] = int(number["number"]) * units[number["unit"]]
    return found


def show_limit(field: str, amount: float) -> str:
    """A limit for people: `memory: 256 MiB`, `cpu: 10 s`, `output: 4 MiB/s`."""
    word = next(word for word, (name, _) in (WORDS | CALL_WORDS).items() if name == field)
    if field in ("cpu_s", "wall_s"):
        return f"{word}: {amount:g} s"
    if not field.endswith(("_bytes", "_bytes_s")):
        return f"{word}: {amount:g}"
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < _KIB or amount % _KIB:
            break
        amount, unit = amount // _KIB, larger
    return f"{word}: {amount:g} {unit}{'/s' if field.endswith('_s') else ''}"

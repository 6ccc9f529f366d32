"""What a worker may use of the machine it runs on: the limits by name, and how people write them.

Accounts count what the kernel serves (tokens, money, calls); these are of the worker itself, an OS process, and are
kept by the system or by the kernel's watch from outside.
"""

import re
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
    "output": ("output_bytes_s", _BYTES),
}
"""What people write, as in `memory=256m,cpu=10s`: the field, and the units."""


@final
class WorkerLimits(Args, frozen=True, kw_only=True):
    """Limits of one worker; None is the parent's. `cpu_s` seconds of processor time; `memory_bytes` of address space;
    `processes` and threads; `files` descriptors that are open at once; `file_bytes` of one file that it writes;
    `output_bytes_s` printed, with bursts of eight times that."""

    cpu_s: int | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    files: int | None = None
    file_bytes: int | None = None
    output_bytes_s: int | None = None


def parse_limits(text: str) -> WorkerLimits:
    """`memory=256m,cpu=10s` as limits. Raises ValueError with the words or the units that there are."""
    found: dict[str, int] = {}
    for piece in text.split(","):
        word, _, amount = piece.strip().partition("=")
        if word not in WORDS:
            raise ValueError(f"no limit {word!r}: there are {', '.join(WORDS)}")
        field, units = WORDS[word]
        number = _NUMBER.fullmatch(amount.strip().lower())
        if number is None or number["unit"] not in units:
            known = ", ".join(unit for unit in units if unit) or "none"
            raise ValueError(f"{word}={amount}: write a whole number, with one of the units {known} if you like")
        found[field] = int(number["number"]) * units[number["unit"]]
    return WorkerLimits(**found)


def show_limit(field: str, amount: float) -> str:
    """A limit for people: `memory: 256 MiB`, `cpu: 10 s`, `output: 4 MiB/s`."""
    word = next(word for word, (name, _) in WORDS.items() if name == field)
    if field == "cpu_s":
        return f"{word}: {amount:g} s"
    if not field.endswith(("_bytes", "_bytes_s")):
        return f"{word}: {amount:g}"
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < _KIB or amount % _KIB:
            break
        amount, unit = amount // _KIB, larger
    return f"{word}: {amount:g} {unit}{'/s' if field.endswith('_s') else ''}"

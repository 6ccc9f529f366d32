"""The word lists, by name: `words/NAME.txt`."""

import functools
from pathlib import Path


@functools.cache
def listed(name: str) -> tuple[str, ...]:
    """The words of a list, in the order of the file."""
    return tuple((Path(__file__).parent / "words" / f"{name}.txt").read_text(encoding="utf-8").split())

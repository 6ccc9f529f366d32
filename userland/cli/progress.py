"""What goes on meanwhile, for whoever sits at a terminal."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from userland.cli.table import clean, cut

_ERASE = "\r\x1b[K"


@contextmanager
def passing() -> Iterator[Callable[[str], None]]:
    """Shows each line that it is handed in the place of the one before, on stderr; at the end nothing of them is left.
    Where stderr is no terminal, nothing is shown."""
    if not sys.stderr.isatty():
        yield lambda line: None
        return
    width = shutil.get_terminal_size().columns - 1

    def show(line: str) -> None:
        print(_ERASE + cut(clean(line), width), end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print(_ERASE, end="", file=sys.stderr, flush=True)

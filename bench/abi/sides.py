"""Both ends on one core, and figures that are taken side by side, in turns, so that a busy machine slows both."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

CONFIG = """
embedding = "sim"
store = "memory"

[models.sim]
origin = "sim:"
driver = "sim"
"""


def pin() -> int:
    """Keeps this OS process and all that it starts on one core: across cores one would measure the machine's wake-ups.
    The core."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


Timed = Callable[[int], float]
"""Does something so many times; the seconds it took."""


def timed(once: Callable[[], object]) -> Timed:
    """`once`, so many times."""

    def run(times: int) -> float:
        began = time.perf_counter()
        for _ in range(times):
            once()
        return time.perf_counter() - began

    return run


def in_turns(sides: dict[str, Timed], *, times: int, rounds: int) -> dict[str, list[float]]:
    """Seconds for one go of each side, one figure a round."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side(times)
    for _ in range(rounds):
        for name, side in sides.items():
            taken[name].append(side(times) / times)
    return taken


def ratio(taken: dict[str, list[float]], above: str, below: str) -> float:
    """The median of the rounds' ratios."""
    return median(a / b for a, b in zip(taken[above], taken[below], strict=True))


@contextmanager
def child(serve: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """`serve` in an OS process of its own, at the other end of a socketpair."""
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(serve, ours, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(5)


def _serve(serve: Callable[[socket.socket], None], ours: socket.socket, theirs: socket.socket) -> None:
    ours.close()
    serve(theirs)

"""Both ends on one core, and figures that are taken side by side, in turns, so that a busy machine slows both."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

CONFIG = """
embedding = "sim"
store = "memory"

[models.sim]
origin = "sim:"
driver = "sim"
"""

ROUND_S = 0.005
WARM_UP = 20


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


def in_turns(
    sides: dict[str, Timed], *, rounds: int, round_s: float = ROUND_S, unit: int = 1
) -> dict[str, list[float]]:
    """Seconds for one go of each side, one figure a round. In a round each side goes as often, in multiples of `unit`,
    as takes about `round_s`: who else uses the machine disturbs a long side as often as a short one."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    goes: dict[str, int] = {}
    for name, side in sides.items():
        side(unit * WARM_UP)
        each_s = side(unit * WARM_UP) / WARM_UP
        goes[name] = unit * max(1, round(round_s / each_s))
    for _ in range(rounds):
        for name, side in sides.items():
            taken[name].append(side(goes[name]) / goes[name])
    return taken


def quiet(figures: Iterable[float]) -> float:
    """The lower quartile: what it takes in rounds that nobody disturbed, of whom there are some on any machine."""
    ranked = sorted(figures)
    return ranked[len(ranked) // 4]


def ratio(taken: dict[str, list[float]], above: str, below: str) -> float:
    """How often `below` fits into `above`, both in quiet rounds."""
    return quiet(taken[above]) / quiet(taken[below])


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

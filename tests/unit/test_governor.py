"""Who is held back, and who comes back: by what a worker used of the processor, and how often it gave way."""

import os
import time

from hypothesis import given
from hypothesis import strategies as some

from kernel.workers.governor import COOL_S, FEW, PERIOD_S, SPIN_S, Demand, gave_way


def verdicts(periods: list[tuple[float, int]]) -> list[bool]:
    """What is decided of one that in each period uses so much and gives way so often."""
    demand, cpu_s, ways, told = Demand(), 0.0, 0, []
    for number, (part, gave) in enumerate(periods, start=1):
        cpu_s += part * PERIOD_S
        ways += gave
        if demand.is_due(cpu_s, number * PERIOD_S):
            verdict = demand.judge(cpu_s, number * PERIOD_S, ways)
            told += [] if verdict is None else [verdict]
    return told


def test_one_that_spins_is_held_back_soon_and_comes_back_when_it_gives_way() -> None:
    soon = round(3 * SPIN_S / PERIOD_S) + 1
    pauses = round(2 * COOL_S / PERIOD_S) + 1
    assert verdicts([(1.0, 0)] * soon) == [True]
    assert verdicts([(1.0, 0)] * soon + [(0.1, 3)] * pauses) == [True, False]
    assert verdicts([(0.02, 0)] * 60) == [True], "on a busy machine it gets less, and spins all the same"


@given(some.lists(some.tuples(some.floats(0.0, 1.0), some.integers(FEW + 1, 50)), max_size=60))
def test_one_that_gives_way_is_left_alone(periods: list[tuple[float, int]]) -> None:
    assert verdicts(periods) == []


def test_a_process_that_waits_has_given_way() -> None:
    before = gave_way(os.getpid())
    for _ in range(3):
        time.sleep(0.001)
    assert gave_way(os.getpid()) >= before + 3

"""The corpus as programs of a real kernel: none goes through, and whoever else calls is answered meanwhile."""

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syscalls.calls import clock
from tests.escape.stage import open_stage
from tests.escape.test_corpus import NAMES, free, pytestmark, went_through
from tests.kernelproc import KernelProcess, kernel_up, spawn, wait

HERE = Path(__file__).parent
AT_ONCE = 8
MODELS = '[models.sim]\norigin = "sim:"\ndriver = "sim"\n\n'
CONFIG = 'embedding = "sim"\nstore = "memory"\n' + MODELS

__all__ = ["pytestmark"]


def _others(kernel: KernelProcess, answered: list[float], over: threading.Event) -> None:
    """Somebody who only wants to know the time."""
    with kernel.link() as link:
        while not over.is_set():
            began = time.monotonic()
            link.call(clock.NOW, clock.Now())
            answered.append(time.monotonic() - began)
            over.wait(0.02)


@pytest.mark.slow
def test_none_goes_through_and_others_are_answered() -> None:
    with open_stage() as stage, kernel_up(config=CONFIG) as kernel:
        went_free = {name for name in NAMES if went_through(name, stage, free(name, stage))}
        answered: list[float] = []
        over = threading.Event()
        other = threading.Thread(target=_others, args=(kernel, answered, over))
        other.start()
        try:
            outcomes = _play_all(kernel, stage)
        finally:
            over.set()
            other.join()
        through = [name for name in NAMES if name in went_free and went_through(name, stage, outcomes[name])]
        assert not through
        assert len(answered) > len(NAMES) / AT_ONCE


def _play_all(kernel: KernelProcess, stage: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rights = (f"file:{HERE}/** read", f"file:{stage['inside']}/** read")
    outcomes: dict[str, dict[str, Any]] = {}
    link = kernel.link()
    for at in range(0, len(NAMES), AT_ONCE):
        some = NAMES[at : at + AT_ONCE]
        pids = {name: spawn(link, f"{HERE}/as_program.py:hostile", name, stage, rights=rights) for name in some}
        for name, pid in pids.items():
            ended = wait(link, pid)
            outcomes[name] = msgspec.msgpack.decode(ended.value) if ended.status == "done" else {}
    return outcomes

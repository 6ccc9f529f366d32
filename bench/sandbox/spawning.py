"""One worker from the spawn to its HELLO, layer by layer, and how many a second can be made.

`layer_NAME_us` are what the layers took inside the worker. A spawn that is counted for `spawns_per_s` is over when the
worker has said HELLO and has been killed and reaped again, a few at once.
"""

import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import trio

from bench.sandbox.zygotes import end, ready, zygote
from sandbox.limits import SPAWNS_AT_ONCE_MAX
from sandbox.zygote import Zygote

WORKERS = 300
ROUNDS = 5


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """The figures."""
    return trio.run(_measure, WORKERS // 10 if quick else WORKERS, 1 if quick else ROUNDS)


async def _measure(count: int, rounds: int) -> dict[str, float]:
    took: list[float] = []
    layers: dict[str, list[float]] = defaultdict(list)
    async with zygote() as maker:
        for _ in range(count):
            worker, ready_ms = await ready(maker)
            took.append(ready_ms)
            for layer, us in worker.layers_us.items():
                layers[layer].append(us)
            await end(worker)
        rates = [await _rate(maker, count) for _ in range(rounds)]
    return {
        "worker_ready_ms": median(took),
        **{f"layer_{layer}_us": median(values) for layer, values in layers.items()},
        "spawns_per_s": median(rates),
    }


async def _rate(maker: Zygote, count: int) -> float:
    left = count

    async def one_after_another() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            worker, _ = await ready(maker)
            await end(worker)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(SPAWNS_AT_ONCE_MAX):
            nursery.start_soon(one_after_another)
    return count / (time.perf_counter() - began)

"""64 token streams of `sim` through kernel and socket to a program, against what its host gives a caller directly.

One token an item, as a model that is stepped makes them. The caller is in this OS process; of the host it takes what
comes as the kernel does, into a sink. Where a pace is set, the rates of the streams are added up, each from its first
token to its last; flat out it is the tokens of all from the first of any to the last of any, for there a stream that
begins later leaves the machine to the others.
"""

import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import trio
from msgspec import Raw

from bench.abi.sides import CONFIG
from bench.kernelside import kernel
from syscalls import driver
from syscalls.calls import model
from syscalls.codec import parse_answer
from syscalls.limits import DRIVER_LIMITS
from syscalls.link.async_ import adopt
from syscalls.turns import user
from userland.sdk.connect import connect

STREAMS = 64
PACES = (100, 1_000, 10_000)
FLAT_OUT_TOKENS = 1500
CREDIT = 1 << 20
Pour = Callable[[int, Callable[[int], None]], Awaitable[None]]
"""Has so many tokens generated, and tells of the items as they come."""


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """The figures, and tokens a second flat out."""
    return trio.run(lambda: _measure(folder, quick=quick))


async def _measure(folder: Path, *, quick: bool) -> dict[str, float]:
    efficiencies = []
    for pace in PACES:
        seconds = 3 if quick else 8
        direct, through = await _rates(folder, pace, tokens=max(3, pace * seconds // STREAMS), rounds=1 if quick else 3)
        efficiencies.append(median(b / a for a, b in zip(direct, through, strict=True)))
    direct, through = await _rates(folder, 0, tokens=FLAT_OUT_TOKENS // (3 if quick else 1), rounds=3 if quick else 5)
    return {
        "stream_efficiency_64": min(efficiencies),
        "direct_tok_s": median(direct),
        "relayed_tok_s": median(through),
        "relay_ratio": median(b / a for a, b in zip(direct, through, strict=True)),
    }


async def _rates(folder: Path, pace: float, *, tokens: int, rounds: int) -> tuple[list[float], list[float]]:
    """Tokens a second directly and through a kernel, in turns."""
    options = {
        "slots": str(STREAMS),
        "step_tokens": "1",
        "tokens_per_second": str(pace / STREAMS),
        "script": json.dumps(["x" * (tokens - 1)]),
    }
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
    direct, through = [], []
    with kernel(f"{CONFIG}\n[models.sim.options]\n{lines}") as path:
        async with connect(path) as sys_, _host(options) as from_host:

            async def through_kernel(most: int, came: Callable[[int], None]) -> None:
                async for _ in sys_.stream("model.generate", model.OneShot(turns=(user("go"),), max_tokens=most)):
                    came(1)

            for pour in (from_host, through_kernel):  # so that what is loaded is loaded
                await _rate(pour, 2, paced=False, streams=1)
            for _ in range(rounds):
                direct.append(await _rate(from_host, tokens, paced=pace > 0))
                through.append(await _rate(through_kernel, tokens, paced=pace > 0))
    return direct, through


async def _rate(pour: Pour, tokens: int, *, paced: bool, streams: int = STREAMS) -> float:
    spans: list[tuple[int, float, float]] = []

    async def one() -> None:
        first = last = 0.0
        items = 0

        def came(n: int) -> None:
            nonlocal first, last, items
            items += n
            last = time.perf_counter()
            first = first or last

        await pour(tokens, came)
        spans.append((items - 1, first, last))

    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(one)
    if paced:
        return sum(items / (last - first) for items, first, last in spans)
    began, ended = min(first for _, first, _ in spans), max(last for *_, last in spans)
    return sum(items for items, *_ in spans) / (ended - began)


@asynccontextmanager
async def _host(options: dict[str, str]) -> AsyncIterator[Pour]:
    """A driver host of our own, called as the kernel calls one."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "drivers.host", "sim", "--fd", str(theirs.fileno()), "--parent", str(os.getpid())]
    process = await trio.lowlevel.open_process(command, pass_fds=[theirs.fileno()])
    theirs.close()
    try:
        async with adopt(ours, limits=DRIVER_LIMITS) as link:
            opened: driver.Opened = await link.call(
                driver.OPEN, driver.Open(kind="model", origin="sim:", options=options)
            )

            async def pour(most: int, came: Callable[[int], None]) -> None:
                def sink(items: list[Raw]) -> None:
                    for item in items:
                        parse_answer(driver.Tokens, item, name="generate")
                    came(len(items))

                sampling = driver.Sampling(max_tokens=most)
                request = driver.Generate(device=opened.device, sampling=sampling, prompt=(1, 2, 3))
                await link.pour(driver.GENERATE, request, sink, credit=CREDIT)

            yield pour
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()

"""Two hundred workers at once, a quarter of them hostile, while thirty-two others work: how much longer these take.

Each hostile one tries a program of the escape corpus again and again for as long as it lives; those that go for the
processors, memory, descriptors, the log and the frames are as many as all others together. The rest wait for messages.
Who works makes calls, computes a little and pauses, as agents do. Alone and beside them, in turns, in one kernel.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Raw

from bench.abi.sides import CONFIG
from bench.kernelside import kernel
from syscalls.calls import process
from syscalls.codec import pack
from syscalls.link.blocking import BlockingLink
from syscalls.wire import NIL
from tests.escape import programs as corpus
from tests.escape.stage import open_stage

WORKERS, HOSTILE, WORKING = 200, 50, 32
PAUSES = 60
"""How often who works does: some seconds, in which being started at the same time weighs little."""
ROUNDS = 3
HUNGRY = (
    "spin",
    "memory_bomb",
    "descriptor_exhaustion",
    "fork_bomb",
    "print_flood",
    "fill_disk",
    "replies_never_read",
    "call_replayed",
)
PROGRAM = """
import time
from kernos import Sys, program

@program
async def works(sys: Sys, rounds: int) -> None:
    for _ in range(rounds):
        for _ in range(4):
            await sys.call("process.self")
        sum(range(20_000))
        await sys.sleep(0.05)

@program
async def waits(sys: Sys) -> None:
    await sys.receive()
"""
CORPUS = Path(corpus.__file__).parent


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """The figures."""
    file = folder / "beside.py"
    file.write_text(PROGRAM)
    alone, beside = [], []
    with open_stage() as stage, kernel(CONFIG) as socket, BlockingLink.connect(str(socket)) as link:
        _work(link, file, 2)
        for _ in range(1 if quick else ROUNDS):
            alone.append(_work(link, file, PAUSES))
            with _hostile(link, file, stage):
                beside.append(_work(link, file, PAUSES))
    slower = [100 * (b / a - 1) for a, b in zip(alone, beside, strict=True)]
    return {"hostile_slowdown": median(slower), "hostile_alone_ms": 1000 * median(alone)}


def _work(link: BlockingLink, file: Path, rounds: int) -> float:
    """Seconds until all who work have finished."""
    began = time.perf_counter()
    pids = [_spawn(link, f"{file}:works", rounds) for _ in range(WORKING)]
    for pid in pids:
        ended: process.Exit = link.call(process.WAIT, process.Wait(pid=pid, timeout_s=300))
        assert ended.status == "done", ended.error
    return time.perf_counter() - began


@contextmanager
def _hostile(link: BlockingLink, file: Path, stage: dict[str, Any]) -> Iterator[None]:
    """All others, up and at it."""
    names = sorted(path.stem for path in CORPUS.glob("[a-z]*.py"))
    chosen = [*islice(cycle(HUNGRY), HOSTILE // 2), *islice(cycle(names), HOSTILE - HOSTILE // 2)]
    rights = (f"file:{CORPUS.parent}/** read", f"file:{stage['inside']}/** read")
    hostile = f"{CORPUS.parent}/as_program.py:persistent"
    pids = [_spawn(link, hostile, name, stage, rights=rights) for name in chosen]
    pids += [_spawn(link, f"{file}:waits") for _ in range(WORKERS - WORKING - HOSTILE)]
    time.sleep(3)
    try:
        yield
    finally:
        for pid in pids:
            link.call(process.KILL, process.Kill(pid=pid, signal=9))
        for pid in pids:
            link.call(process.WAIT, process.Wait(pid=pid, timeout_s=60))


def _spawn(link: BlockingLink, program: str, *args: Any, **options: Any) -> int:
    given = Raw(pack(list(args))) if args else NIL
    spawned: process.Spawned = link.call(process.SPAWN, process.Spawn(program=program, args=given, **options))
    return spawned.pid

"""Programs of a real kernel: when one has had its first reply, and what memory each takes that nobody shares.

Both sides of `first_call_ms` read one clock: the client's before it asks for the process, and the program's when its
first system call was answered.
"""

import time
from pathlib import Path
from statistics import median

import msgspec

from bench.abi.sides import CONFIG
from bench.kernelside import kernel
from syscalls.calls import process
from syscalls.link.blocking import BlockingLink

PROGRAM = """
import time
from kernos import Sys, program

@program
async def first(sys: Sys) -> float:
    await sys.call("process.self")
    return time.perf_counter()

@program
async def waits(sys: Sys) -> None:
    await sys.receive()
"""
STARTS = 200
ALIVE = 40


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """The figures."""
    file = folder / "sandboxed.py"
    file.write_text(PROGRAM)
    with kernel(CONFIG) as socket, BlockingLink.connect(str(socket)) as link:
        _first_call(link, f"{file}:first")
        took = [_first_call(link, f"{file}:first") for _ in range(STARTS // 10 if quick else STARTS)]
        private = _private(link, f"{file}:waits", ALIVE // 4 if quick else ALIVE)
    return {"first_call_ms": median(took), "worker_private_mib": median(private)}


def _first_call(link: BlockingLink, program: str) -> float:
    began = time.perf_counter()
    link.call(process.SPAWN, process.Spawn(program=program))
    ended: process.Exit = link.call(process.WAIT, process.Wait(timeout_s=60))
    assert ended.status == "done", ended.error
    answered: float = msgspec.msgpack.decode(ended.value)
    return 1000 * (answered - began)


def _private(link: BlockingLink, program: str, count: int) -> list[float]:
    """MiB of each of so many workers that are alive at once and wait."""
    for _ in range(count):
        link.call(process.SPAWN, process.Spawn(program=program))
    while True:
        table: process.Processes = link.call(process.LIST, process.ListProcesses())
        waiting = [info.worker for info in table.processes if info.state == "waiting" and info.name.startswith("waits")]
        if len(waiting) == count:
            return [_private_mib(pid) for pid in waiting]
        time.sleep(0.05)


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024

"""What a worker uses of the machine: who runs over is ended with a status that names the limit, nobody else is hurt.

Broken by: a limit that is not handed on, one that a child can have more of than its parent, workers that survive their
kernel.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from syscalls.calls import process
from syscalls.errors import Invalid, PermissionDenied
from syscalls.link.blocking import BlockingLink
from syscalls.worker_limits import WorkerLimits
from tests.kernelproc import KernelProcess, kernel_up, spawn, until, wait

CONFIG = 'embedding = "sim"\nstore = "memory"\n[limits]\nmemory_bytes = 536870912\noutput_bytes_s = 65536\n'
PROGRAM = """
import mmap, os, time
from kernos import Sys, WorkerLimits, program

@program
async def spins(sys: Sys) -> None:
    while True:
        pass

@program
async def hoards(sys: Sys) -> None:
    held = []
    while True:
        held.append(bytes(16 << 20))

@program
async def maps(sys: Sys) -> int:
    return len(mmap.mmap(-1, 300 << 20))

@program
async def opens(sys: Sys) -> None:
    held = []
    while True:
        held.append(os.dup(0))

@program
async def prints(sys: Sys) -> None:
    while True:
        print("x" * 8000)
        await sys.sleep(0)

@program
async def writes(sys: Sys) -> None:
    while True:
        os.write(2, b"x" * 8000)

@program
async def waits(sys: Sys) -> None:
    await sys.receive()

@program
async def spawns(sys: Sys, program: str, memory_bytes: int) -> None:
    child = await sys.spawn(program, limits=WorkerLimits(memory_bytes=memory_bytes))
    await child.wait()
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as up:
        (up.folder / "over.py").write_text(PROGRAM)
        yield up


@pytest.fixture
def link(kernel: KernelProcess) -> BlockingLink:
    return kernel.link()


@pytest.mark.parametrize(
    ("name", "limits", "told"),
    [
        ("spins", WorkerLimits(cpu_s=1), "cpu: 1 s"),
        ("hoards", WorkerLimits(), "memory: 512 MiB"),
        ("maps", WorkerLimits(memory_bytes=256 << 20), "memory: 256 MiB"),
        ("opens", WorkerLimits(files=40), "files: 40"),
        ("prints", WorkerLimits(), "output: 64 KiB/s"),
        ("writes", WorkerLimits(output_bytes_s=2048), "output: 2 KiB/s"),
    ],
)
def test_what_runs_over_is_ended_with_the_limit_named(
    kernel: KernelProcess, link: BlockingLink, name: str, limits: WorkerLimits, told: str
) -> None:
    other = spawn(link, f"{kernel.folder}/over.py:waits")
    ended = wait(link, spawn(link, f"{kernel.folder}/over.py:{name}", limits=limits))
    assert (ended.status, ended.code) == ("over_limit", 1)
    assert told in ended.error
    kill(link, other)
    assert wait(link, other).status == "killed"


def kill(link: BlockingLink, pid: int) -> None:
    link.call(process.KILL, process.Kill(pid=pid, signal=9))


def test_processes_that_share_a_worker_run_over_together(kernel: KernelProcess, link: BlockingLink) -> None:
    pids = [spawn(link, f"{kernel.folder}/over.py:{name}", limits=WorkerLimits(cpu_s=1), shared=True)
            for name in ("waits", "waits")]  # fmt: skip
    pids.append(spawn(link, f"{kernel.folder}/over.py:spins", limits=WorkerLimits(cpu_s=1), shared=True))
    ended = wait(link, pids[-1])
    assert ended.status == "over_limit" and "cpu: 1 s" in ended.error
    for pid in pids[:2]:
        kill(link, pid)
        wait(link, pid)


def test_a_child_has_no_more_than_its_parent(kernel: KernelProcess, link: BlockingLink) -> None:
    file = f"{kernel.folder}/over.py"
    with pytest.raises(PermissionDenied, match="memory: 1 GiB is more than the parent's, memory: 512 MiB"):
        spawn(link, f"{file}:waits", limits=WorkerLimits(memory_bytes=1 << 30))
    with pytest.raises(Invalid, match="too little to start"):
        spawn(link, f"{file}:waits", limits=WorkerLimits(memory_bytes=1 << 20))
    rights = ("program:** spawn", "process:** wait", f"file:{kernel.folder}/** read")
    less = WorkerLimits(memory_bytes=256 << 20)
    refused = wait(link, spawn(link, f"{file}:spawns", f"{file}:maps", 300 << 20, limits=less, rights=rights))
    assert refused.status == "failed" and "more than the parent's, memory: 256 MiB" in refused.error
    inherits = wait(link, spawn(link, f"{file}:spawns", f"{file}:maps", 200 << 20, limits=less, rights=rights))
    assert inherits.status == "failed" and "over limit: ELIMIT: memory: 200 MiB" in inherits.error


def test_the_wall_time_is_named(kernel: KernelProcess, link: BlockingLink) -> None:
    ended = wait(link, spawn(link, f"{kernel.folder}/over.py:waits", budget=process.Budget(wall_s=0.5)))
    assert ended.status == "timed_out" and "wall time: 0.5 s" in ended.error


def test_workers_die_with_their_kernel() -> None:
    with kernel_up(config=CONFIG) as up:
        (up.folder / "over.py").write_text(PROGRAM)
        link = up.link()
        for name in ("waits", "spins", "waits"):
            spawn(link, f"{up.folder}/over.py:{name}", limits=WorkerLimits(cpu_s=60))
        workers = until(lambda: _children(up.child.pid, 5))
        os.kill(up.child.pid, signal.SIGKILL)
        up.child.wait()
        until(lambda: not any(_alive(pid) for pid in workers))


def _children(pid: int, least: int) -> list[int]:
    """The OS processes of a kernel: its zygote, the child in reserve, its workers and hosts; once there are so many."""
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found if len(found) >= least else []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_one_that_spins_runs_only_when_nobody_else_does(kernel: KernelProcess, link: BlockingLink) -> None:
    spins = spawn(link, f"{kernel.folder}/over.py:spins")
    waits = spawn(link, f"{kernel.folder}/over.py:waits")

    def worker(pid: int) -> int:
        table: process.Processes = link.call(process.LIST, process.ListProcesses())
        return next(info.worker for info in table.processes if info.pid == pid)

    until(lambda: worker(spins) and os.sched_getscheduler(worker(spins)) == os.SCHED_IDLE)
    assert os.sched_getscheduler(worker(waits)) == os.SCHED_OTHER
    for pid in (spins, waits):
        kill(link, pid)
        wait(link, pid)

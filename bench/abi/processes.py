"""Ten thousand processes alive in one kernel, hosted and idle, each with something behind it: what one takes of the
kernel's memory, how fast they are spawned, and how long `ps` takes to list them.

Each has opened a context of three pages, made its calls, and waits in `receive` on its mailbox. Their worker's side is
not counted into the memory, but it runs on the same core while they are spawned; nor are the first few hundred, with
whom comes what the kernel loads once. They come in batches that find their rest: what work leaves of holes in memory is
filled by the work that follows, and no process's. A spawn is over when it is answered:
the process is in the table, with its account and rights, and its program is on the way to its worker. Spawns are sent
as a program sends them that starts its helpers in a nursery: 64 calls on their way at once. Caller and kernel share the
core; what the spawned do in their workers is not the spawn, and has the others.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from msgspec import Raw

from bench.abi.sides import CONFIG, quiet
from bench.kernelside import kernel
from syscalls.calls import kernel as kernel_calls
from syscalls.calls import process
from syscalls.codec import pack
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.blocking import BlockingLink
from syscalls.peer import Peer
from syscalls.wire import Hello, Reply

PROCESSES = 10_000
BOUNDS = f"""
[bounds]
processes_max = {2 * PROCESSES}
contexts_max = {2 * PROCESSES}
shared_processes_max = 1000
"""
PROGRAM = """
import trio
from kernos import Sys, program, user

@program
async def ends(sys: Sys) -> None:
    pass

@program(shared=True)
async def idles(sys: Sys) -> None:
    await trio.sleep_forever()

@program(shared=True)
async def lives(sys: Sys) -> None:
    context = await sys.open()
    for part in range(4):
        await context.append(user("word " * 70))
    await context.stat()
    for _ in range(4):
        await sys.call("process.nice", pid=sys.pid, nice=0)
    await sys.receive()
"""
BATCH = 500
AT_ONCE = 64


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """The figures, and spawns a second; rates are those of the quietest of a few rounds, on either side."""
    count = PROCESSES // 10 if quick else PROCESSES
    file = folder / "many.py"
    file.write_text(PROGRAM)
    bare, single, many = [], [], []
    for _ in range(3):
        bare.append(_bare_tasks(count))
        with _kernel(f"{file}:ends") as (link, pid, path):
            _free_workers(pid)
            single.append(count / _spawn_each(path, f"{file}:idles", count))
        with _kernel(f"{file}:ends") as (link, _, _):
            many.append(count / _spawn_many(link, f"{file}:idles", count))
    with _kernel(f"{file}:ends") as (link, pid, _):
        before = 0.0
        for alive in range(BATCH, BATCH + count + 1, BATCH):
            _spawn_many(link, f"{file}:lives", BATCH)
            _until_idle(link, alive)
            before = before or _rss_kib(pid)
        taken = (_rss_kib(pid) - before) / count
        listed = quiet([_list(link) for _ in range(9)])
    return {
        "process_kib": taken,
        "spawn_ratio": max(single) / max(bare),
        "spawn_many_ratio": max(many) / max(bare),
        "ps_10k_ms": listed,
        "spawns_s": max(single),
        "spawns_many_s": max(many),
        "bare_tasks_s": max(bare),
    }


@contextmanager
def _kernel(program: str) -> Iterator[tuple[BlockingLink, int, Path]]:
    with kernel(CONFIG + BOUNDS) as path, BlockingLink.connect(str(path)) as link:
        info: kernel_calls.KernelInfo = link.call(kernel_calls.INFO, kernel_calls.Info())
        link.call(process.SPAWN, process.Spawn(program=program))
        link.call(process.WAIT, process.Wait())  # the zygote is there
        yield link, info.pid, path
        os.kill(info.pid, signal.SIGKILL)  # ten thousand goodbyes are not what is measured


def _bare_tasks(count: int) -> float:
    """Tasks a second that trio starts, each run until it waits."""

    async def main() -> float:
        started = 0

        async def task() -> None:
            nonlocal started
            started += 1
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            began = time.perf_counter()
            for _ in range(count):
                nursery.start_soon(task)
            while started < count:
                await trio.lowlevel.checkpoint()
            took = time.perf_counter() - began
            nursery.cancel_scope.cancel()
        return count / took

    return trio.run(main)


def _spawn_each(socket_path: Path, program: str, count: int) -> float:
    """Seconds for `count` calls of process.spawn, AT_ONCE on their way."""
    args = pack(process.Spawn(program=program, shared=True))
    peer = Peer(CLIENT_LIMITS, Hello())
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(socket_path))
        began = time.perf_counter()
        for sent in range(0, count, AT_ONCE):
            wanted = min(AT_ONCE, count - sent)
            for _ in range(wanted):
                peer.call(process.SPAWN.number, args)
            sock.sendall(peer.outbox)
            peer.outbox.clear()
            while wanted:
                answers = [frame for frame in peer.receive(sock.recv(65536)) if not isinstance(frame, Hello)]
                assert all(isinstance(frame, Reply) for frame in answers), answers
                wanted -= len(answers)
        return time.perf_counter() - began


def _free_workers(kernel_pid: int) -> None:
    """Workers, and what makes them, may run on every core."""
    for children in Path(f"/proc/{kernel_pid}/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"drivers.host" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.sched_setaffinity(int(pid), range(os.cpu_count() or 1))


def _spawn_many(link: BlockingLink, program: str, count: int) -> float:
    args = process.SpawnMany(program=program, shared=True, args=(Raw(pack([])),) * BATCH)
    began = time.perf_counter()
    for _ in range(count // BATCH):
        link.call(process.SPAWN_MANY, args)
    return time.perf_counter() - began


def _until_idle(link: BlockingLink, count: int) -> None:
    """Until each waits for a message, with a context behind it."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        table: process.Processes = link.call(process.LIST, process.ListProcesses(all=True))
        idle = [info for info in table.processes if info.state == "waiting" and info.context_tokens]
        if len(idle) >= count:
            return
        time.sleep(0.25)
    raise RuntimeError(f"{len(idle)} of {count} processes are idle after ten minutes")


def _list(link: BlockingLink) -> float:
    """Milliseconds, for ten thousand where there are fewer or more."""
    began = time.perf_counter()
    table: process.Processes = link.call(process.LIST, process.ListProcesses(all=True))
    took = time.perf_counter() - began
    return 1000 * took * PROCESSES / len(table.processes)


def _rss_kib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024

"""What the tier `files` costs: the filter on calls that it lets through, and plain calls that a supervisor makes.

`filter_overhead` is what the filter adds to a program that reads a folder of small files (list, stat, open, fstat,
read, close, and little else), in percent over the same jail without a filter: the two run in turns, in workers of one
zygote; of a worker the best of many short rounds counts, of the workers the median. `filter_call_ns` is what it adds
to one call: any filter costs that, also one that allows everything. `mediated_open_us` is the median of `os.open` of a
file that a right covers, until its descriptor is there; deeds are told to somebody who takes them; worker and
supervisor share a core, as across cores one would measure how long the machine sleeps. `direct_open_us` is the same
open without a supervisor.
"""

import encodings
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import trio

from bench.abi.sides import pin
from sandbox.interpreter import guest_binds, guest_path
from sandbox.spec import Bind, Limits, WorkerSpec, ZygoteSpec
from sandbox.worker import Worker, reap
from sandbox.zygote import Zygote
from syscalls.mediation import MESSAGE_BYTES_MAX, Grants, Serve

ROOT = Path(__file__).resolve().parents[2]
GUEST = "bench.sandbox.mediated_guest"
PAIRS = 7
QUICK_PAIRS = 3


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """The figures of this part."""
    before = os.sched_getaffinity(0)
    pin()
    try:
        return trio.run(_measure, folder, QUICK_PAIRS if quick else PAIRS)
    finally:
        os.sched_setaffinity(0, before)


async def _measure(folder: Path, pairs: int) -> dict[str, float]:
    folder.chmod(0o755)
    file = folder / "opened"
    file.write_text("what is opened")
    file.chmod(0o644)
    bare, filtered = [], []
    async with _zygote() as zygote, _host() as host:
        for _ in range(pairs):
            spin = {"what": "spin", "folder": os.path.dirname(encodings.__file__)}
            bare.append(await _run(zygote, host, folder, spin, without=("seccomp",)))
            filtered.append(await _run(zygote, host, folder, spin))
        asked = {"what": "open", "path": str(file)}
        direct = await _run(zygote, host, folder, asked)
        opened = await _run(zygote, host, folder, asked, mediated=True)
    return {
        "filter_overhead": max(0.0, 100 * (_typical(filtered, "walk_us") / _typical(bare, "walk_us") - 1)),
        "filter_call_ns": _typical(filtered, "call_ns") - _typical(bare, "call_ns"),
        "mediated_open_us": opened["us"],
        "direct_open_us": direct["us"],
    }


def _typical(runs: list[dict[str, float]], name: str) -> float:
    return median(run[name] for run in runs)


@asynccontextmanager
async def _zygote() -> AsyncIterator[Zygote]:
    guests = str(ROOT / "bench")
    spec = ZygoteSpec(
        python=sys.executable, path=(str(ROOT), *guest_path()), preload=(GUEST,),
        binds=(*guest_binds(), Bind(guests, guests)),
    )  # fmt: skip
    zygote = await Zygote.start(spec)
    try:
        yield zygote
    finally:
        await zygote.aclose()


@asynccontextmanager
async def _host() -> AsyncIterator[socket.socket]:
    """The process that makes supervisors. Started by this thread, which is the one that is pinned."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "drivers.mediation", "--fd", str(theirs.fileno())]
    with ours:
        with theirs:
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT)  # noqa: ASYNC220 (see above)
        yield ours
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(process.wait)


async def _run(
    zygote: Zygote, host: socket.socket, folder: Path, asked: dict[str, Any], *, mediated: bool = False,
    without: tuple[str, ...] = (),
) -> dict[str, float]:  # fmt: skip
    """One worker's figures."""
    worker = await zygote.spawn(
        WorkerSpec(
            entry=f"{GUEST}:main",
            payload=json.dumps(asked).encode(),
            binds=() if mediated else (Bind(str(folder), str(folder)),),
            tier="files" if mediated else "pure",
            limits=Limits(),
            without=without,
        )
    )
    async with trio.open_nursery() as nursery:
        if worker.mediated is not None:
            nursery.start_soon(_hear, _supervise(worker, host, folder))
        said = b""
        async with trio.SocketStream(trio.socket.from_stdlib_socket(worker.sock)) as stream:
            async for piece in stream:
                said += piece
        os.close(worker.output)
        await reap(worker)
    told: dict[str, float] = json.loads(said)
    return told


def _supervise(worker: Worker, host: socket.socket, folder: Path) -> socket.socket:
    assert worker.mediated is not None
    notify, root = worker.mediated
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    seen = tuple(bind.target for bind in guest_binds())
    told = Serve(worker.pid, seen, (str(ROOT / "never"),), Grants((f"file:{folder}/** read",)))
    with theirs:
        socket.send_fds(host, [msgspec.msgpack.encode(told)], [theirs.fileno(), notify, root, worker.pidfd])
    os.close(notify)
    os.close(root)
    ours.setblocking(False)
    return ours


async def _hear(control: socket.socket) -> None:
    """As the kernel does, without looking at it."""
    with trio.socket.from_stdlib_socket(control) as sock:
        while await sock.recv(MESSAGE_BYTES_MAX):
            pass

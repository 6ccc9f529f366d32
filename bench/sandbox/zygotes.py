"""Workers as the kernel makes them, without the kernel: its zygote, its entry, its binds."""

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from kernel.workers.jail import ENTRY, zygote_spec
from sandbox.spec import WorkerSpec
from sandbox.worker import Worker, reap
from sandbox.zygote import Zygote


@asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    """The kernel's zygote, warm: it has made a few workers before."""
    started = await Zygote.start(zygote_spec())
    try:
        for _ in range(3):
            worker, _ = await ready(started)
            await end(worker)
        yield started
    finally:
        await started.aclose()


async def ready(maker: Zygote) -> tuple[Worker, float]:
    """A worker that has said HELLO, and the milliseconds that it took from the spawn."""
    began = time.perf_counter()
    worker = await maker.spawn(WorkerSpec(entry=ENTRY))
    await trio.lowlevel.wait_readable(worker.sock)
    took = 1000 * (time.perf_counter() - began)
    assert worker.sock.recv(1 << 16), "the worker died before it said HELLO"
    return worker, took


async def end(worker: Worker) -> None:
    """Kills and reaps it."""
    signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
    await reap(worker)
    worker.sock.close()
    os.close(worker.output)

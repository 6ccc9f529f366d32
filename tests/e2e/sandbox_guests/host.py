"""The host end of the guests: a zygote that knows them, and a line-by-line talk with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from sandbox.ending import Exit
from sandbox.interpreter import guest_binds, guest_path
from sandbox.spec import Bind, WorkerSpec, ZygoteSpec
from sandbox.worker import Worker, reap
from sandbox.zygote import Zygote

GUESTS = str(Path(__file__).parent)
GUESTS_BIND = Bind(GUESTS, GUESTS)


def zygote_spec(*preload: str) -> ZygoteSpec:
    """An environment whose guests find the programs of this folder by their bare names."""
    path = (GUESTS, *guest_path())
    return ZygoteSpec(python=sys.executable, path=path, preload=preload, binds=guest_binds())


def worker_spec(entry: str = "hostile:main", **settings: Any) -> WorkerSpec:
    """A worker for a guest of this folder."""
    binds = (GUESTS_BIND, *settings.pop("binds", ()))
    return WorkerSpec(entry=entry, binds=binds, **settings)


@asynccontextmanager
async def open_zygote(*preload: str) -> AsyncIterator[Zygote]:
    zygote = await Zygote.start(zygote_spec(*preload))
    try:
        yield zygote
    finally:
        await zygote.aclose()


class Guest:
    """A worker that runs `hostile:main`, and its answers."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(worker.sock))
        self._buffer = b""

    async def attempt(self, action: str, **arguments: Any) -> dict[str, Any]:
        await self.stream.send_all(json.dumps({"action": action, **arguments}).encode() + b"\n")
        return await self.next_line()

    async def next_line(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError(f"the guest is gone: {self.output()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def output(self) -> str:
        """What the guest printed so far."""
        try:
            return os.read(self.worker.output, 1 << 16).decode(errors="replace")
        except BlockingIOError:
            return ""


@asynccontextmanager
async def open_guest(zygote: Zygote, spec: WorkerSpec | None = None) -> AsyncIterator[Guest]:
    """A guest for the length of the block; it is hung up on and reaped at its end."""
    guest = Guest(await zygote.spawn(spec or worker_spec()))
    try:
        yield guest
    finally:
        with trio.CancelScope(shield=True):
            await guest.stream.aclose()
            await reap(guest.worker)
        os.close(guest.worker.output)


async def run_to_end(zygote: Zygote, spec: WorkerSpec) -> tuple[Exit, str]:
    """The exit of a worker that ends by itself, and what it printed."""
    worker = await zygote.spawn(spec)
    output = b""
    async with trio.lowlevel.FdStream(worker.output) as stream:
        async for data in stream:
            output += data
    worker.sock.close()
    return await reap(worker), output.decode()


def attempt_unsandboxed(action: str, **arguments: Any) -> dict[str, Any]:
    """The same action in a plain process of this user."""
    command = [sys.executable, f"{GUESTS}/hostile.py", json.dumps({"action": action, **arguments})]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=30)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer

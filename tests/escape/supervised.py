"""Hostile programs in the tier `files`: a worker, and the process that makes its supervisor, without a kernel."""

import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from sandbox.interpreter import guest_binds
from sandbox.spec import Limits, WorkerSpec
from sandbox.worker import Worker, reap
from sandbox.zygote import Zygote
from syscalls.mediation import MESSAGE_BYTES_MAX, Did, FromSupervisor, Grants, Serve

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30
FILE_BYTES = 1 << 20


@asynccontextmanager
async def supervisors() -> AsyncIterator[socket.socket]:
    """Where supervisors are asked for."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "drivers.mediation", "--fd", str(theirs.fileno())]
    with ours:
        with theirs:
            process = await trio.lowlevel.open_process(command, pass_fds=[theirs.fileno()], cwd=ROOT)
        yield ours
    with trio.CancelScope(shield=True):
        assert await process.wait() == 0


async def supervised(
    maker: Zygote, host: socket.socket, name: str, stage: dict[str, Any], rights: tuple[str, ...], *, package: str
) -> tuple[dict[str, Any], int]:
    """What came of a program ({} if it died without a word), and how much its supervisor did and refused."""
    worker = await maker.spawn(
        WorkerSpec(
            entry="tests.escape.guest:main",
            payload=json.dumps({"name": name, "stage": stage, "package": package}).encode(),
            tier="files",
            limits=Limits(file_bytes=FILE_BYTES),
        )
    )
    deeds: list[int] = []
    data = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_hear, _ask_for(host, worker, rights), deeds)
        async with trio.SocketStream(trio.socket.from_stdlib_socket(worker.sock)) as stream:
            with trio.move_on_after(PATIENCE_S):
                try:
                    async for piece in stream:
                        data += piece
                except trio.BrokenResourceError:
                    pass
        signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
        await reap(worker)
        os.close(worker.output)
    answer: dict[str, Any] = json.loads(data) if data else {}
    return answer, sum(deeds)


def _ask_for(host: socket.socket, worker: Worker, rights: tuple[str, ...]) -> socket.socket:
    assert worker.mediated is not None
    notify, root = worker.mediated
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    escape = str(ROOT / "tests" / "escape")
    seen = (*(bind.target for bind in guest_binds()), escape)
    with theirs:
        told = msgspec.msgpack.encode(Serve(worker.pid, seen, (), Grants(rights)))
        socket.send_fds(host, [told], [theirs.fileno(), notify, root, worker.pidfd])
    os.close(notify)
    os.close(root)
    ours.setblocking(False)
    return ours


async def _hear(control: socket.socket, deeds: list[int]) -> None:
    """Until the supervisor has said that its worker is gone."""
    with trio.socket.from_stdlib_socket(control) as sock, trio.fail_after(2 * PATIENCE_S):
        while data := await sock.recv(MESSAGE_BYTES_MAX):
            told = msgspec.msgpack.decode(data, type=FromSupervisor)
            deeds.append(len(told.deeds) if isinstance(told, Did) else 0)

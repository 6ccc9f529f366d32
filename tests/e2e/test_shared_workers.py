"""Shared workers as they are: jailed, killed with SIGKILL, stuck in a loop; nobody but their own processes is hurt."""

import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from syscalls.calls import message, process
from syscalls.codec import pack
from syscalls.link.blocking import BlockingLink
from tests.kernelproc import kernel_up, spawn, until, wait

PROGRAM = """
import trio
from kernos import Sys, program

@program(shared=True)
async def waits(sys: Sys) -> int:
    return (await sys.receive()).body + sys.pid

@program(shared=True)
async def spins(sys: Sys) -> None:
    await sys.receive()
    with trio.CancelScope(shield=True):  # or TERM might find it before it spins
        await sys.note("spinning")
    while True:
        pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "many.py"
    path.write_text(PROGRAM)
    return path


def info_of(link: BlockingLink, pid: int) -> process.ProcessInfo:
    table: process.Processes = link.call(process.LIST, process.ListProcesses(all=True))
    return next(info for info in table.processes if info.pid == pid)


def worker_of(link: BlockingLink, pid: int) -> int:
    return info_of(link, pid).worker


def send(link: BlockingLink, pid: int, body: Any) -> None:
    link.call(message.SEND, message.Send(pid=pid, body=Raw(pack(body))))


def value(exit_: process.Exit) -> Any:
    assert exit_.status == "done", exit_.error
    return msgspec.msgpack.decode(exit_.value)


def test_a_shared_worker_that_is_killed_takes_exactly_its_own_along(file: Path) -> None:
    with kernel_up() as kernel:
        link = kernel.link()
        together = [spawn(link, f"{file}:waits", shared=True) for _ in range(8)]
        alone = spawn(link, f"{file}:waits")
        apart = spawn(link, f"{file}:waits", shared=True, rights=("process:children",))
        until(lambda: all(worker_of(link, pid) for pid in (*together, alone, apart)))
        shared = {worker_of(link, pid) for pid in together}
        assert len(shared) == 1 and worker_of(link, alone) not in shared and worker_of(link, apart) not in shared
        send(link, together[0], 1000)
        assert value(wait(link, together[0])) == 1000 + together[0]
        os.kill(shared.pop(), signal.SIGKILL)
        assert {wait(link, pid).status for pid in together[1:]} == {"worker_lost"}
        for pid in (alone, apart):
            send(link, pid, 5)
            assert value(wait(link, pid)) == 5 + pid
        again = spawn(link, f"{file}:waits", shared=True)
        send(link, again, 7)
        assert value(wait(link, again)) == 7 + again, "the next is given a new worker"


def test_one_that_spins_is_ended_with_its_worker_and_its_neighbours_are_told(file: Path) -> None:
    with kernel_up(config="[bounds]\ngrace_s = 0.3\n") as kernel:
        link = kernel.link()
        spinning, beside = (spawn(link, f"{file}:spins", shared=True) for _ in range(2))
        apart = spawn(link, f"{file}:waits", shared=True)
        send(link, spinning, None)
        until(lambda: info_of(link, spinning).note == "spinning")
        link.call(process.KILL, process.Kill(pid=spinning, signal=15))
        assert wait(link, spinning).status == "terminated"
        assert wait(link, beside).status == "worker_lost"
        send(link, apart, 1)
        assert value(wait(link, apart)) == 1 + apart

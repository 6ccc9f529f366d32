"""`kernos trace` on a real kernel: what a process was at when it was killed, a family followed to its end, the file."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syscalls.calls import process
from tests.kernelproc import KernelProcess, kernel_up, spawn, trace, until, wait

CONFIG = """
embedding = "hash"
store = "memory"
[models.sim]
origin = "sim:"
[trace]
file = "trace.jsonl"
"""
PROGRAMS = """
from kernos import Sys, program, user

@program
async def sleeps(sys: Sys) -> None:
    await sys.sleep(1e6)

@program
async def talks(sys: Sys) -> str:
    chat = await sys.open()
    await chat.append(user("a word that stays here: teapot"))
    await sys.sleep(0.05)
    return (await chat.generate(max_tokens=5)).text

@program
async def parent(sys: Sys, file: str) -> str:
    await sys.sleep(0.7)
    child = await sys.spawn(f"{file}:talks")
    return (await child.ended()).status
"""


@pytest.fixture(scope="module")
def up() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as up:
        yield up


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("programs") / "traced.py"
    path.write_text(PROGRAMS)
    return str(path)


def kernos(up: KernelProcess, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from userland.cli.main import main; main()", *words]
    return subprocess.Popen(command, env={**os.environ, "KERNOS_SOCKET": str(up.socket)}, stdout=-1, text=True)


def test_what_a_worker_was_at_when_it_was_killed(up: KernelProcess, programs: str) -> None:
    with up.link() as link:
        pid = spawn(link, f"{programs}:sleeps")

        def worker() -> int:
            found = link.call(process.LIST, process.ListProcesses(all=True)).processes
            return next((p.worker for p in found if p.pid == pid and p.state == "waiting"), 0)

        os.kill(until(worker), signal.SIGKILL)
        assert wait(link, pid).status == "worker_lost"
        (slept,) = [r for r in trace(link) if r.pid == pid and r.name == "time.sleep"]
        assert slept.errno == "EPIPE"
        assert slept.args == "seconds=1000000.0"
        assert slept.took_s > 0


def test_following_a_process_shows_its_children_and_ends_with_them(up: KernelProcess, programs: str) -> None:
    with up.link() as link:
        pid = spawn(link, f"{programs}:parent", programs)
        following = kernos(up, "trace", "-f", "-r", str(pid))
        out, _ = following.communicate(timeout=60)
        assert following.returncode == 0
        assert wait(link, pid).status == "done"
    lines = [line[11:] for line in out.splitlines()]
    child = next(line.split()[0] for line in lines if " --- spawn " in line and not line.startswith(f"{pid} "))
    assert any(line.startswith(f"{pid} time.sleep(seconds=0.7 <unfinished ...>") for line in lines)
    assert any(line.startswith(f"{pid} <... time.sleep resumed>) = 0 <0.7") for line in lines)
    assert any(
        line.startswith(f"{child} ") and "context.generate" in line and " tokens, queued " in line for line in lines
    )
    assert lines[-1] == f"{pid} +++ exited with 0 +++"


def test_the_summary_of_a_process(up: KernelProcess, programs: str) -> None:
    with up.link() as link:
        pid = spawn(link, f"{programs}:talks")
        assert wait(link, pid).status == "done"
    out, _ = kernos(up, "trace", "-c", str(pid)).communicate(timeout=60)
    names = [line.split()[-1] for line in out.splitlines()]
    assert names[0] == "syscall"
    assert {"context.open", "context.append", "time.sleep", "context.generate", "total"} <= set(names)


def test_the_file_beside_the_ring(up: KernelProcess, programs: str) -> None:
    path: Path = up.folder / "state" / "trace.jsonl"
    with up.link() as link:
        pid = spawn(link, f"{programs}:talks")
        assert wait(link, pid).status == "done"

    def written() -> list[str]:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        mine = [line for line in lines if line.get("pid") == pid]
        return [line.get("name", line["kind"]) for line in mine] if any(line["kind"] == "exit" for line in mine) else []

    names = until(written)
    assert names[0] == "spawn"
    assert names[-1] == "exit"
    assert "context.generate" in names
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "teapot" not in path.read_text()

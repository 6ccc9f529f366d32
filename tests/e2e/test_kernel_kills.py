"""SIGKILL of anything while twelve agents run: the answers are those of an undisturbed run, and nobody else is hurt."""

import os
import random
import signal
import time
from pathlib import Path

import msgspec
import pytest

from syscalls.calls import device, process
from syscalls.link.blocking import BlockingLink
from tests.kernelproc import KernelProcess, kernel_up, spawn, trace, until, wait
from tests.tinymodel import make_model

AGENTS = 12
RIGHTS = ("model:*", "context:own", "process:self")
SIM = '[models.sim]\norigin = "sim:"\noptions = { tokens_per_second = "160", slots = "8" }\n'
AGENT = """
from kernos import Sys, program, user

@program
async def agent(sys: Sys, number: int, rounds: int) -> str:
    chat = await sys.open(reserve_tokens=64)
    said = []
    for turn in range(rounds):
        await sys.note("speaking", done=turn, total=rounds)
        await chat.append(user(f"agent {number}, round {turn}: go on"))
        pieces = []
        answer = chat.generate(max_tokens=40, temperature=0.8 if number % 2 else 0.0, seed=number)
        async for text in answer:
            pieces.append(text)
        whole = (await answer).text
        assert "".join(pieces) == whole, (pieces, whole)
        said.append(whole)
    return "|".join(said)
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "agent.py"
    path.write_text(AGENT)
    return f"{path}:agent"


def start(link: BlockingLink, program: str, rounds: int) -> dict[int, int]:
    """Spawns the agents; pid -> number."""
    return {spawn(link, program, number, rounds, rights=RIGHTS): number for number in range(AGENTS)}


def answers(link: BlockingLink, pids: dict[int, int], *, timeout_s: float = 90.0) -> dict[int, process.Exit]:
    """How each ended, by number."""
    return {number: wait(link, pid, timeout_s=timeout_s) for pid, number in pids.items()}


def said(exits: dict[int, process.Exit]) -> dict[int, object]:
    assert {e.status for e in exits.values()} == {"done"}, {n: (e.status, e.error) for n, e in exits.items()}
    return {number: msgspec.msgpack.decode(exit_.value) for number, exit_ in exits.items()}


def host_of(link: BlockingLink) -> int:
    devices = link.call(device.LIST, device.ListDevices(kind="model")).devices
    return int(devices[0].host)


def table(link: BlockingLink) -> dict[int, process.ProcessInfo]:
    return {p.pid: p for p in link.call(process.LIST, process.ListProcesses(all=True)).processes}


def speaking(link: BlockingLink, pids: dict[int, int]) -> bool:
    """Whether the agents are in the middle of it: some text has been generated."""
    rows = table(link)
    mine = [rows[pid] for pid in pids if pid in rows]
    return sum(row.done >= 1 for row in mine) >= AGENTS // 2 and any(row.state == "running" for row in mine)


def zygote_of(link: BlockingLink) -> int:
    return int([r for r in trace(link) if r.kind == "zygote_ready"][-1].detail["host"])


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def undisturbed(up: KernelProcess, program: str, rounds: int) -> dict[int, object]:
    with up.link() as link:
        return said(answers(link, start(link, program, rounds)))


def test_a_killed_driver_host_changes_no_answer(program: str) -> None:
    with kernel_up(config=SIM) as up, up.link() as link:
        expected = undisturbed(up, program, 3)
        pids = start(link, program, 3)
        until(lambda: speaking(link, pids))
        kill(host_of(link))
        assert said(answers(link, pids)) == expected
        kinds = [record.kind for record in trace(link)]
        assert "host_lost" in kinds
        assert "reissue" in kinds, "the host died under generations, and they went on"


def test_a_killed_worker_costs_its_own_process_and_no_other(program: str) -> None:
    with kernel_up(config=SIM) as up, up.link() as link:
        pids = start(link, program, 3)
        until(lambda: speaking(link, pids))
        victims = [pid for pid, number in pids.items() if number in (2, 7)]
        for pid in victims:
            kill(table(link)[pid].worker)
        exits = answers(link, pids)
        lost = {number for number, exit_ in exits.items() if exit_.status == "worker_lost"}
        assert lost == {2, 7}
        assert all("WORKER_LOST" in exits[number].error for number in lost)
        assert {exit_.status for number, exit_ in exits.items() if number not in lost} == {"done"}


def test_nobody_notices_the_death_of_the_zygote(program: str) -> None:
    with kernel_up(config=SIM) as up, up.link() as link:
        expected = undisturbed(up, program, 2)
        pids = start(link, program, 2)
        until(lambda: speaking(link, pids))
        kill(zygote_of(link))
        later = spawn(link, program, 3, 2, rights=RIGHTS)
        assert said(answers(link, pids)) == expected
        assert msgspec.msgpack.decode(wait(link, later).value) == expected[3]


def test_twenty_random_kills_in_a_row(program: str) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    rounds = 6
    with kernel_up(config=SIM) as up, up.link() as link:
        expected = undisturbed(up, program, rounds)
        pids = start(link, program, rounds)
        until(lambda: speaking(link, pids))
        killed: set[int] = set()
        for number in range(20):
            rows = table(link)
            alive = [pid for pid in pids if pid in rows and rows[pid].state != "zombie" and rows[pid].worker]
            what = dice.choice(
                ["host", "host", "zygote", "worker"] if len(killed) < 5 and alive else ["host", "zygote"]
            )
            if what == "worker":
                victim = dice.choice(alive)
                killed.add(pids[victim])
                kill(rows[victim].worker)
            else:
                kill(until(lambda: host_of(link)) if what == "host" else zygote_of(link))
            if what == "zygote":
                spare = spawn(link, program, number % AGENTS, 1, rights=RIGHTS)
                assert wait(link, spare).status == "done", "a new zygote stands in for the dead one"
            time.sleep(dice.random() * 0.05)
        exits = answers(link, pids)
        for number, exit_ in exits.items():
            if exit_.status == "done":
                assert msgspec.msgpack.decode(exit_.value) == expected[number], f"seed {seed}, agent {number}"
            else:
                assert (exit_.status, number in killed) == ("worker_lost", True), f"seed {seed}: {exit_.error}"
        assert link.call(process.SELF, process.Self()).kind == "session"


@pytest.mark.slow
def test_the_torch_driver_resumes_exactly_too(program: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", max_position_embeddings=1024)
    config = f'[models.real]\norigin = "{folder}"\n'
    with kernel_up(config=config) as up, up.link() as link:
        expected = undisturbed(up, program, 3)
        pids = start(link, program, 3)
        until(lambda: speaking(link, pids), within_s=60)
        kill(host_of(link))
        assert said(answers(link, pids)) == expected

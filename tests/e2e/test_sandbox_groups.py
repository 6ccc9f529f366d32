"""Control groups with real processes, where this machine lets anybody make some: who is in which, and that all goes.

Broken by: a worker that is born outside its group, a group that outlives its worker, a kernel that sweeps nothing.
"""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from sandbox.groups import Groups, NoGroups, make_groups
from sandbox.worker import Worker, reap
from sandbox.zygote import Zygote
from syscalls.calls import process
from syscalls.link.blocking import BlockingLink
from tests.e2e.sandbox_guests.host import worker_spec, zygote_spec
from tests.e2e.test_worker_limits import PROGRAM, kill
from tests.kernelproc import kernel_up, spawn, trace, until, wait


def groups_here() -> str:
    """Where groups are made; empty where none can be."""
    try:
        groups = make_groups()
    except NoGroups:
        return ""
    groups.close()
    return os.path.dirname(groups.folder)


PLACE = groups_here()
WITHOUT_PID = 'weak_sandbox = ["pid"]\n'
"""Where there are no controllers, groups are made for what no pid namespace ends."""
pytestmark = pytest.mark.skipif(not PLACE, reason="no control group can be made from here: see 'kernos doctor'")


@pytest.fixture
def groups() -> Iterator[Groups]:
    made = make_groups()
    yield made
    made.close()
    assert not os.path.exists(made.folder)


@asynccontextmanager
async def grouped(groups: Groups) -> AsyncIterator[Zygote]:
    zygote = await Zygote.start(zygote_spec(), groups)
    assert not zygote.ungrouped
    try:
        yield zygote
    finally:
        await zygote.aclose()


def leaves(folder: str) -> list[str]:
    return sorted(each.name for each in Path(folder).iterdir() if each.is_dir())


def members(path: str) -> list[int]:
    return [int(word) for word in Path(path, "cgroup.procs").read_text().split()]


def shut(worker: Worker) -> None:
    worker.sock.close()
    os.close(worker.output)


async def test_each_worker_is_alone_in_its_group_which_goes_with_it(groups: Groups) -> None:
    async with grouped(groups) as zygote:
        workers = [await zygote.spawn(worker_spec()) for _ in range(3)]
        for worker in workers:
            assert worker.group is not None
            assert members(worker.group.path) == [worker.pid]
        for worker in workers:
            assert worker.group is not None
            worker.group.kill()
            assert (await reap(worker)).signal == signal.SIGKILL
            assert not os.path.exists(worker.group.path)
            shut(worker)
    assert leaves(groups.folder) == []


async def test_all_that_a_worker_has_forked_ends_by_one_write(groups: Groups) -> None:
    async with grouped(groups) as zygote:
        worker = await zygote.spawn(worker_spec("forking:main", without=("pid", "seccomp")))
        await trio.lowlevel.wait_readable(worker.sock)
        assert worker.sock.recv(1) == b"f" and worker.group is not None
        assert len(members(worker.group.path)) == 2
        path = worker.group.path
        worker.group.kill()
        await reap(worker)
        until(lambda: not os.path.exists(path) or not members(path))
        shut(worker)


async def test_a_worker_outlives_its_zygote_and_its_group_does_too(groups: Groups) -> None:
    async with grouped(groups) as zygote:
        worker = await zygote.spawn(worker_spec())
        os.kill(zygote.pid, signal.SIGKILL)
    assert worker.group is not None
    worker.group.kill()
    await reap(worker)
    shut(worker)
    assert leaves(groups.folder) == []


ALONE = """
import os, sys
from pathlib import Path
import sandbox.groups as groups

place, controller = sys.argv[1:]
os.mkdir(place)
Path(place, "cgroup.procs").write_text(str(os.getpid()))
groups.CONTROLLERS = (controller,)
def where():
    return next(line[3:] for line in open("/proc/self/cgroup").read().splitlines() if line.startswith("0::"))
before = where()
made = groups.make_groups()
leaf = Path(made.folder, "leaf")
leaf.mkdir()
files = any(each.name.startswith(controller) for each in leaf.iterdir())
there = before + "/" + os.path.basename(made.folder) + "/kernel"
print(sorted(made.controllers), made.lacking, where() == there, files)
made.close()
print(where() == before, os.listdir(place).count(os.path.basename(made.folder)))
"""


def free_controller() -> str:
    """One of the system's that is not bound to version 1: which one is all the same for how it is handed down."""
    there = Path(PLACE, "cgroup.controllers").read_text().split() if PLACE else []
    return there[0] if there else ""


@pytest.mark.skipif(not free_controller(), reason="version 2 has no controller here")
def test_one_that_is_alone_hands_a_controller_down_and_comes_back() -> None:
    place, above = f"{PLACE}/alone-{os.getpid()}", Path(PLACE, "cgroup.subtree_control")
    handed = free_controller() in above.read_text().split()
    try:
        above.write_text(f"+{free_controller()}")
        done = subprocess.run(
            [sys.executable, "-c", ALONE, place, free_controller()],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == f"['{free_controller()}']  True True\nTrue 0\n", done.stderr
    finally:
        os.rmdir(place)
        if not handed:
            above.write_text(f"-{free_controller()}")


def own_group(pid: int) -> str:
    """The group of a process as the system tells it, below where groups are made."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line.rpartition(":")[2] for line in lines if line.startswith("0::"))


def worker_of(link: BlockingLink, pid: int) -> int:
    table: process.Processes = link.call(process.LIST, process.ListProcesses())
    return next(info.worker for info in table.processes if info.pid == pid)


def test_where_groups_are_good_for_nothing_there_are_none() -> None:
    groups = make_groups()
    groups.close()
    if groups.controllers:
        pytest.skip("here they are good for something")
    with kernel_up() as up:
        told = [each for each in trace(up.link()) if each.kind == "groups"]
        assert told[0].detail["none"] == groups.lacking
        assert not os.path.exists(f"{PLACE}/kernos-{up.child.pid}")


def test_a_kernel_groups_its_workers_and_removes_what_a_killed_one_left() -> None:
    with kernel_up(config=WITHOUT_PID) as up:
        (up.folder / "over.py").write_text(PROGRAM)
        link = up.link()
        pid = spawn(link, f"{up.folder}/over.py:waits")
        worker = until(lambda: worker_of(link, pid))
        own = own_group(worker)
        assert f"/kernos-{up.child.pid}/" in own
        kill(link, pid)
        wait(link, pid)
        folder = f"{PLACE}/kernos-{up.child.pid}"
        until(lambda: os.path.basename(own) not in leaves(folder))
        spawn(link, f"{up.folder}/over.py:waits")
        until(lambda: len(leaves(folder)) >= 2)
        os.kill(up.child.pid, signal.SIGKILL)
        up.child.wait()
        assert os.path.exists(folder)
    with kernel_up(config=WITHOUT_PID) as up:
        assert not os.path.exists(folder)
        folder = f"{PLACE}/kernos-{up.child.pid}"
        assert os.path.exists(folder)
    assert not os.path.exists(folder)

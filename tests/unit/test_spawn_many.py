"""Many processes in one call: each with its own arguments, all of them or none."""

import itertools

import pytest
import trio

from kernel.config import Bounds
from kernel.sys.process import kill
from kernel.trap import Trap
from kernel.workers.exec import SIGNALS_AT_ONCE
from kernos import Sys, program
from kernos.testing import up
from kernos.testing.machine import InProcess
from syscalls.calls import process
from syscalls.calls.process import Budget
from syscalls.errors import Invalid, NotFound, OverQuota, PermissionDenied, TryAgain
from syscalls.signals import Signal


@program(shared=True)
async def doubles(sys: Sys, number: int) -> int:
    return 2 * number


@program
async def spawns(sys: Sys, count: int) -> int:
    try:
        await sys.spawn_many("doubles", [(n,) for n in range(count)], shared=True)
    except OverQuota:
        children = await sys.children()
        assert not children, "all or none"
        return -1
    return len(await sys.children())


async def test_each_has_its_own_arguments_and_they_share_a_worker() -> None:
    async with up(programs={"doubles": doubles}) as machine:
        children = await machine.sys.spawn_many("doubles", [(n,) for n in range(40)], shared=True)
        assert [await child.wait(int) for child in children] == [2 * n for n in range(40)]
        apart = await machine.sys.spawn_many("doubles", [(1,), (2,)])
        assert [await child.wait(int) for child in apart] == [2, 4]


async def test_where_not_all_have_a_place_none_is_started() -> None:
    async with up(programs={"doubles": doubles}, bounds=Bounds(processes_max=16)) as machine:
        before = len(machine.machine.processes)
        with pytest.raises(TryAgain, match="do not fit"):
            await machine.sys.spawn_many("doubles", [(n,) for n in range(13)], shared=True)
        assert len(machine.machine.processes) == before


async def test_where_an_account_may_not_have_all_none_is_started() -> None:
    async with up(programs={"doubles": doubles, "spawns": spawns}) as machine:
        limited = Budget(processes=4)
        assert await machine.run("spawns", 5, budget=limited) == -1
        assert await machine.run("spawns", 3, budget=limited) == 3


async def test_what_spawn_refuses_is_refused_for_all_at_once() -> None:
    async with up(programs={"doubles": doubles}) as machine:
        before = len(machine.machine.processes)
        with pytest.raises(NotFound):
            await machine.sys.spawn_many("nobody", [(1,)])
        with pytest.raises(Invalid, match="1 to 1024"):
            await machine.sys.spawn_many("doubles", [])
        with pytest.raises(Invalid, match="1 to 1024"):
            await machine.sys.spawn_many("doubles", [()] * 1025)
        child = await machine.spawn(tries_more, rights=("program:* spawn", "process:children"))
        assert await child.wait() == "refused"
        assert len(machine.machine.processes) == before


@program
async def tries_more(sys: Sys) -> str:
    try:
        await sys.spawn_many("doubles", [(1,), (2,)], rights=("kernel:**",))
    except PermissionDenied:
        return "refused"
    return "let in"


@program
async def returns(sys: Sys, size: int) -> bytes:
    return bytes(size)


@program
async def leaves(sys: Sys, count: int) -> list[str]:
    children = await sys.spawn_many("returns", [(12 << 20,)] * count)
    while any(each.state != "zombie" for each in await sys.children()):
        await sys.sleep(0.1)
    exits = [await sys.call("process.wait", pid=child.pid) for child in children]
    return sorted(each.status for each in exits)


async def test_what_children_return_waits_within_a_bound_and_goes_when_it_is_taken() -> None:
    """Thousands of children that return 16 MiB each, and are never waited for, would fill the kernel's memory."""
    async with up(programs={"returns": returns, "leaves": leaves}) as machine:
        told = await machine.run(leaves, 7, rights=("program:returns spawn", "process:* list", "process:children"))
        assert told == ["done"] * 5 + ["failed"] * 2
        table = machine.machine.processes
        assert not table._values
        assert all(len(bytes(each.exit.value)) == 1 for each in table._reaped if each.exit is not None)


@program
async def rests(sys: Sys) -> None:
    await sys.sleep(1e9)


async def test_many_children_of_one_that_has_ended_end_a_few_at_a_time() -> None:
    async with up(programs={"rests": rests}) as machine:
        await machine.sys.spawn_many("rests", [()] * 200)
        session = machine.machine.processes.get(machine.sys.pid)
        children = tuple(session.children.values())
        machine.machine.executor.orphan(session)
        asked = [sum(child.ending is not None for child in children)]
        while asked[-1] < 200:
            await trio.lowlevel.checkpoint()
            asked.append(sum(child.ending is not None for child in children))
        assert asked[0] == SIGNALS_AT_ONCE
        assert max(after - before for before, after in itertools.pairwise(asked)) <= 2 * SIGNALS_AT_ONCE


async def test_many_of_a_group_are_signalled_a_few_at_a_time() -> None:
    async with up(programs={"rests": rests}) as machine:
        await machine.sys.spawn_many("rests", [()] * 200)
        children = tuple(machine.machine.processes.get(machine.sys.pid).children.values())
        for child in children:
            child.group = children[0].pid
        woken = 0
        wake = machine.machine.scheduler.wake

        def counted() -> None:
            nonlocal woken
            woken += 1
            wake()

        machine.machine.scheduler.wake = counted  # type: ignore[method-assign]
        for number, stopped in ((Signal.STOP, 200), (Signal.CONT, 0)):
            kill(machine.machine, trap_of(machine), process.Kill(pid=-children[0].pid, signal=number))
            seen = [200 - stopped, sum(child.stopped for child in children)]
            while seen[-1] != stopped:
                await trio.lowlevel.checkpoint()
                seen.append(sum(child.stopped for child in children))
            assert max(abs(after - before) for before, after in itertools.pairwise(seen)) <= 2 * SIGNALS_AT_ONCE
        assert woken == 7, "what was continued may be next"


def trap_of(machine: InProcess) -> Trap:
    caller = machine.machine.processes.get(machine.sys.pid)
    return Trap(process=caller, row=process.KILL, emit=print, room=trio.lowlevel.checkpoint)

"""Shared workers: equals live together, each ends alone, and a worker that is lost takes exactly its own along."""

from typing import Any

import pytest
import trio
import trio.testing

from kernel.config import Bounds
from kernel.workers.shared import LINGER_S
from kernos import Sys, program
from kernos.testing import up
from syscalls.calls import process
from syscalls.errors import NoSuchProcess
from syscalls.signals import Signal
from userland.sdk.child import ChildFailed


@program(shared=True)
async def waits(sys: Sys) -> str:
    letter = await sys.receive()
    return f"{letter.body} at {sys.pid}"


@program(shared=True)
async def clings(sys: Sys) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(60)


@program(shared=True)
async def asks_and_clings(sys: Sys) -> None:
    with trio.CancelScope(shield=True):
        await sys.sleep(60)


@program(shared=True)
async def asks(sys: Sys) -> None:
    while True:
        await sys.sleep(1)


def workers(machine: Any) -> list[int]:
    """How many processes each living shared worker hosts."""
    return sorted(len(each._seats) for each in machine.machine.executor._shared.values() if each._seats)


async def test_equals_share_a_worker_and_each_ends_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        children = [await machine.spawn(waits) for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked()
        assert workers(machine) == [5]
        await children[2].send("hello")
        assert await children[2].wait() == f"hello at {children[2].pid}"
        assert workers(machine) == [4]
        await children[0].kill(Signal.TERM)
        assert (await children[0].ended()).status == "terminated"
        await children[1].send("still here")
        assert await children[1].wait() == f"still here at {children[1].pid}"


async def test_those_who_differ_in_rights_or_program_do_not_share(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        await machine.spawn(waits)
        await machine.spawn(waits, rights=("process:children",))
        await machine.spawn(asks)
        await machine.spawn(waits, shared=False)
        await trio.testing.wait_all_tasks_blocked()
        assert workers(machine) == [1, 1, 1]


async def test_one_that_was_granted_more_is_no_equal_of_the_next(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        first, equal = [await machine.spawn(waits, rights=("process:children",)) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        await machine.sys.call("capability.grant", pid=first.pid, right="model:*")
        newcomer = await machine.spawn(waits, rights=("process:children",))
        await trio.testing.wait_all_tasks_blocked()
        hosts = [machine.machine.processes.get(child.pid).host._worker for child in (first, equal, newcomer)]
        assert hosts[0] is hosts[1] is not hosts[2]
        await first.send("x")
        assert (await first.wait()).startswith("x"), "and it lives on"


async def test_a_full_worker_takes_no_more(autojump_clock: trio.testing.MockClock) -> None:
    async with up(bounds=Bounds(shared_processes_max=2)) as machine:
        children = [await machine.spawn(waits) for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked()
        hosts = {machine.machine.processes.get(child.pid).host._worker for child in children}
        assert sorted(len(host._seats) for host in hosts) == [1, 2, 2]


async def test_one_that_does_not_end_in_the_grace_time_costs_the_others_their_worker(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with up() as machine:
        stuck, other = await machine.spawn(clings), await machine.spawn(clings)
        apart = await machine.spawn(waits)
        await trio.testing.wait_all_tasks_blocked()
        began, grace_s = trio.current_time(), machine.machine.executor.grace_s
        await stuck.kill(Signal.TERM)
        assert (await stuck.ended()).status == "terminated"
        assert (await other.ended()).status == "worker_lost"
        assert trio.current_time() - began < 2 * grace_s, "one grace time, not another one after it"
        await apart.send("alive")
        assert (await apart.wait()).startswith("alive")


async def test_a_killed_process_is_dead_at_once_and_its_calls_with_it(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        first, second = await machine.spawn(asks), await machine.spawn(asks)
        await trio.testing.wait_all_tasks_blocked()
        await first.kill(Signal.KILL)
        exit_ = await first.ended()
        assert (exit_.status, exit_.code) == ("killed", 137)
        await trio.testing.wait_all_tasks_blocked()
        assert workers(machine) == [1], "its code is gone too, and the other's goes on"
        assert (await machine.sys.call("process.list", all=True)).processes
        await second.kill(Signal.TERM)
        assert (await second.ended()).status == "terminated"


async def test_what_a_killed_process_had_under_way_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        stuck = await machine.spawn(asks_and_clings)
        await trio.testing.wait_all_tasks_blocked()
        dying = machine.machine.processes.get(stuck.pid)
        assert dying.calling == 1
        await stuck.kill(Signal.KILL)
        assert (await stuck.ended()).status == "killed"
        await trio.testing.wait_all_tasks_blocked()
        assert dying.calling == 0, "its code does not know yet, and nothing goes on for it"


async def test_stop_holds_one_process_and_not_its_neighbour(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        held, free = await machine.spawn(waits), await machine.spawn(waits)
        await trio.testing.wait_all_tasks_blocked()
        await held.kill(Signal.STOP)
        await held.send("later")
        await free.send("now")
        assert (await free.wait()).startswith("now")
        with pytest.raises(TimeoutError):
            await held.wait(timeout_s=0.01)
        await held.kill(Signal.CONT)
        assert (await held.wait()).startswith("later")


async def test_a_budget_of_time_ends_one_and_leaves_the_others(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        brief = await machine.spawn(waits, budget=process.Budget(wall_s=0.05))
        lasting = await machine.spawn(waits)
        assert (await brief.ended()).status == "timed_out"
        await lasting.send("yes")
        assert (await lasting.wait()).startswith("yes")


async def test_a_program_that_is_not_there_fails_each_of_them(autojump_clock: trio.testing.MockClock) -> None:
    async with up(programs={}) as machine:
        machine._names["ghost"] = "no.such.module:ghost"
        for _ in range(2):
            child = await machine.sys.spawn("ghost", shared=True)
            with pytest.raises(ChildFailed, match="no module 'no'"):
                await child.wait()
        with pytest.raises(NoSuchProcess):
            await child.kill()


async def test_an_empty_worker_ends_after_a_while(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        child = await machine.spawn(waits)
        await trio.testing.wait_all_tasks_blocked()
        worker = machine.machine.processes.get(child.pid).host._worker
        await child.send("bye")
        await child.wait()
        assert worker.has_room
        await trio.sleep(2 * LINGER_S)
        assert not worker.has_room

"""Groups and signals: what a program chooses, what it waits for, and whom a group is."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kernel.signals import Signals
from kernos import Sys, program
from kernos.testing import up
from syscalls.calls import process, signalling
from syscalls.errors import Invalid, NoSuchProcess, PermissionDenied, TimedOut
from syscalls.signals import CATCHABLE, Signal


@program
async def holds(sys: Sys) -> list[str]:
    for name in ("USR1", "TERM"):
        await sys.signalling.choose(name, "hold")
    await sys.receive()
    first = await sys.signalling.wait("TERM", "USR1")
    second = await sys.signalling.wait("TERM", "USR1")
    return [first.name, second.name]


@program
async def shrugs(sys: Sys) -> str:
    await sys.signalling.choose("TERM", "ignore")
    await sys.signalling.choose("USR2", "event")
    async for name in sys.signals():
        return name
    raise AssertionError


@program
async def lasts(sys: Sys) -> None:
    await sys.receive()


@program
async def herds(sys: Sys) -> list[str]:
    pair = [await sys.spawn("lasts") for _ in range(2)]
    odd = await sys.spawn("lasts")
    group = await sys.signalling.group(pair[0].pid)
    assert await sys.signalling.group(pair[1].pid, group) == group == pair[0].pid
    await sys.signalling.send(group, "TERM")
    ended = [await sys.call("process.wait", pid=-group) for _ in pair]
    assert {exit_.pid for exit_ in ended} == {child.pid for child in pair}
    for call in ("process.wait", "process.kill"):
        with pytest.raises(NoSuchProcess, match=f"no process is in group {group}"):
            await sys.call(call, pid=-group)
    assert (await sys.self()).group == (await sys.children())[0].group, "a child begins in its parent's group"
    await odd.kill("KILL")
    return [exit_.status for exit_ in ended]


async def test_held_signals_wait_to_be_taken_also_term_and_the_same_twice_is_once() -> None:
    async with up() as machine:
        child = await machine.spawn(holds)
        await trio.testing.wait_all_tasks_blocked()
        for name in ("USR1", "USR1", "TERM"):
            await child.kill(name)
        await child.send("now look")
        assert await child.wait() == ["USR1", "TERM"]


async def test_an_ignored_term_is_nothing_and_kill_is_still_the_end() -> None:
    async with up() as machine:
        child = await machine.spawn(shrugs)
        await trio.testing.wait_all_tasks_blocked()
        await child.kill("TERM")
        await trio.testing.wait_all_tasks_blocked()
        await child.kill("USR2")
        assert await child.wait() == "USR2"
        other = await machine.spawn(shrugs)
        await trio.testing.wait_all_tasks_blocked()
        await other.kill("KILL")
        assert (await other.ended()).status == "killed"


async def test_a_group_is_signalled_and_waited_for_as_one() -> None:
    async with up(programs={"lasts": lasts}) as machine:
        assert await machine.run(herds) == ["terminated", "terminated"]


async def test_a_session_can_hold_chld_and_wait_for_it() -> None:
    async with up(programs={"lasts": lasts}) as machine:
        await machine.sys.signalling.choose("CHLD", "hold")
        child = await machine.sys.spawn("lasts")
        with pytest.raises(TimedOut, match="CHLD"):
            await machine.sys.signalling.wait("CHLD", timeout_s=0.01)
        await child.kill()
        assert await machine.sys.signalling.wait("CHLD") is Signal.CHLD


async def test_what_is_refused() -> None:
    async with up(programs={"lasts": lasts}) as machine:
        sys = machine.sys
        for name in ("KILL", "STOP", "CONT"):
            with pytest.raises(Invalid, match="cannot choose"):
                await sys.signalling.choose(name, "ignore")
        with pytest.raises(Invalid, match="not on hold"):
            await sys.signalling.wait("USR1")
        with pytest.raises(Invalid, match="name at least one"):
            await sys.signalling.wait()
        with pytest.raises(Invalid, match="11 signals to wait for"):
            await sys.signalling.wait(*["USR1"] * 11)
        with pytest.raises(Invalid, match="no signal 77"):
            await sys.call(signalling.SIGNAL, signal=77, action="hold")
        child = await sys.spawn("lasts")
        with pytest.raises(NoSuchProcess, match="no process is in group 999"):
            await sys.signalling.group(child.pid, 999)
        with pytest.raises(Invalid, match="belongs to the kernel"):
            await sys.signalling.group(1)
        with pytest.raises(Invalid):
            await sys.call("process.kill", pid=-1)


@program
async def meddles(sys: Sys, group: int) -> str:
    try:
        await sys.signalling.send(group)
    except PermissionDenied as refused:
        return refused.message
    return "sent"


async def test_a_group_with_a_stranger_in_it_needs_a_right_to_the_stranger() -> None:
    async with up(programs={"lasts": lasts}) as machine:
        stranger = await machine.sys.spawn("lasts")
        told = await machine.run(meddles, stranger.pid, rights=("process:children", "process:self"))
        assert f"process:-{stranger.pid} kill" in told
        assert (await machine.sys.call(process.LIST, all=True)).processes[-1].pid
        assert stranger.pid in [info.pid for info in await machine.sys.children()]


@given(st.lists(st.tuples(st.sampled_from(["hold", "take", "choose", "unchoose"]), st.sampled_from(sorted(CATCHABLE)))))
def test_what_is_held_is_taken_once_in_the_order_of_its_coming(steps: list[tuple[str, Signal]]) -> None:
    signals, held, pending = Signals(), set[Signal](), list[Signal]()
    for step, number in steps:
        if step == "choose":
            signals.choose(number, "hold")
            held.add(number)
        elif step == "unchoose":
            signals.choose(number, "event")
            held.discard(number)
            pending = [each for each in pending if each is not number]
        elif step == "hold" and signals.action(number) == "hold":
            signals.hold(number)
            pending += [] if number in pending else [number]
        elif step == "take" and held:
            expected = pending.pop(0) if pending else None
            assert signals.take(tuple(sorted(held))) is expected


@program
async def lures(sys: Sys, stranger: int) -> str:
    child = await sys.spawn("lasts")
    await sys.signalling.group(child.pid, stranger)
    try:
        await sys.signalling.send(stranger)
    except PermissionDenied:
        return "refused"
    return "sent"


async def test_a_group_with_one_child_and_a_stranger_is_no_group_of_children() -> None:
    async with up(programs={"lasts": lasts}) as machine:
        stranger = await machine.sys.spawn("lasts")
        rights = ("process:children", "program:* spawn")
        assert await machine.run(lures, stranger.pid, rights=rights) == "refused"

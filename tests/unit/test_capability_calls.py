"""The capability family under a whole kernel: handles given and taken, in flight too, and what others cannot do."""

from typing import Any

import pytest
import trio

from kernos import Sys, program, user
from kernos.testing import up
from syscalls.calls import capability, model
from syscalls.calls.process import Budget
from syscalls.errors import Invalid, NoSuchProcess, NotFound, PermissionDenied, SyscallError
from syscalls.resources import Resource

MODELS = ("model:*", "context:own", "process:self", "process:children", "program:*")


@program
async def talks(sys: Sys, when_told: bool = False) -> str:
    """Generates for ever; what it was told when it could not."""
    if when_told:
        await sys.receive()
    said = ""
    try:
        chat = await sys.open()
        while True:
            await chat.append(user("go on"))
            async for piece in chat.generate(max_tokens=1000):
                said += piece
    except PermissionDenied as refused:
        return refused.message


@program
async def rests(sys: Sys) -> None:
    await sys.sleep(1e9)


@program
async def takes_back(sys: Sys) -> list[str]:
    """Gives its child a right, and takes it back."""
    child = await sys.spawn("tries_when_told", rights=("process:self",))
    given = await sys.rights.grant(child.pid, "model:sim", why="for once")
    await child.send(None)
    await sys.sleep(10)
    await given.revoke("it has had its turn")
    await child.send(None)
    answers: list[str] = await child.wait()
    return answers


@program
async def tries_when_told(sys: Sys) -> list[str]:
    answers: list[str] = []
    for _ in range(2):
        await sys.receive()
        answers.append(await errno_of(sys.call("model.info", model="sim")))
    return answers


@program
async def forges(sys: Sys, number: int) -> list[str]:
    """Tries everything with a handle that is another's."""
    return [
        await errno_of(sys.call(capability.ATTENUATE, capability=number)),
        await errno_of(sys.call(capability.REVOKE, capability=number)),
        await errno_of(sys.call(capability.GRANT, pid=sys.pid, capability=number)),
    ]


async def errno_of(asking: Any) -> str:
    try:
        await asking
    except SyscallError as refused:
        return refused.errno.name
    return "served"


async def test_a_revocation_ends_the_generation_under_way_and_settles_it(autojump_clock: Any) -> None:
    async with up(model={"tokens_per_second": "10"}) as machine:
        child = await machine.spawn(talks, rights=MODELS, budget=Budget(tokens=100_000))
        record = machine.machine.processes.get(child.pid)
        await trio.sleep(5)
        assert record.state == "running" and record.account.held[Resource.TOKENS] > 0
        (handle,) = [each for each in await machine.sys.rights.of(child.pid) if each.right == "model:*"]
        fallen = await handle.revoke("too chatty")
        assert fallen == 1
        told = await child.wait()
        assert "context.generate was ended: the right 'model:*' was revoked: too chatty" in told
        assert f"kernos grant {child.pid} 'model:*'" in told
        assert record.account.held[Resource.TOKENS] == 0 < record.account.used[Resource.TOKENS]
        machine.machine.accounts.check()
        kinds = {record.kind: record for record in await machine.trace()}
        assert kinds["revoke"].detail["why"].startswith("too chatty, by process")
        calls = [record for record in await machine.trace() if record.name == "context.generate"]
        assert calls[-1].errno == "EPERM" and "too chatty" in calls[-1].result


async def test_a_right_given_later_counts_at_once_and_a_narrower_one_stays(autojump_clock: Any) -> None:
    async with up() as machine:
        machine.know(tries_when_told)
        assert await machine.run(takes_back, rights=MODELS) == ["served", "EPERM"]


async def test_a_forged_handle_is_eperm_and_touches_nothing(autojump_clock: Any) -> None:
    async with up() as machine:
        other = await machine.spawn(rests, rights=MODELS)
        handles = await machine.sys.rights.of(other.pid)
        forged = handles[0].id
        assert await machine.run(forges, forged, rights=("process:self", "process:children")) == ["EPERM"] * 3
        assert await machine.run(forges, 10**9, rights=("process:self", "process:children")) == ["EPERM"] * 3
        assert len(machine.machine.processes.get(other.pid).rights) == len(MODELS)
        await other.kill("KILL")


async def test_a_handle_that_expires_ends_what_it_let_in(autojump_clock: Any) -> None:
    async with up(model={"tokens_per_second": "10"}) as machine:
        child = await machine.spawn(talks, True, rights=("context:own", "process:self"))
        await machine.sys.rights.grant(child.pid, "model:*", life_s=3.0)
        await child.send(None)
        began = machine.machine.clock.now()
        told = await child.wait()
        assert "expired" in told and machine.machine.clock.now() - began == pytest.approx(3.0, abs=0.1)


async def test_what_a_call_under_way_does_not_depend_on_leaves_it_alone(autojump_clock: Any) -> None:
    async with up(model={"tokens_per_second": "10"}) as machine:
        one = await machine.spawn(talks, rights=MODELS)
        other = await machine.spawn(talks, rights=MODELS)
        await trio.sleep(5)
        for handle in await machine.sys.rights.of(one.pid):
            if handle.right != "model:*":
                await handle.revoke()
        await trio.sleep(5)
        assert machine.machine.processes.get(one.pid).state in ("running", "zombie")
        assert machine.machine.processes.get(other.pid).state == "running"
        await one.kill("KILL")
        await other.kill("KILL")


async def test_refusals_say_what_is_missing_and_how_to_grant_it(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(talks, rights=("context:own",))
        told = await child.wait()
        assert f"process {child.pid} (talks) lacks the right 'model:sim@" in told or "model:sim" in told
        assert "--allow 'model:" in told and f"kernos grant {child.pid} 'model:" in told


async def test_bad_words_are_refused(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(rests, rights=MODELS)
        with pytest.raises(Invalid, match="as in"):
            await machine.sys.rights.grant(child.pid, "no right")
        with pytest.raises(Invalid, match="uses"):
            await machine.sys.rights.grant(child.pid, "model:*", uses=0)
        with pytest.raises(Invalid, match="say which"):
            await machine.sys.call(capability.GRANT, pid=child.pid)
        with pytest.raises(NotFound, match="no capability 999"):
            await machine.sys.call(capability.REVOKE, capability=999)
        with pytest.raises(Invalid, match="machine's own"):
            await machine.sys.call(capability.REVOKE, capability=1)
        with pytest.raises(NoSuchProcess):
            await machine.sys.rights.grant(999, "model:*")
        with pytest.raises(Invalid, match="caller itself"):
            await machine.sys.rights.grant(machine.sys.pid, "model:*")
        await child.kill("KILL")
        await trio.sleep(5)
        with pytest.raises(NoSuchProcess, match="ended"):
            await machine.sys.rights.grant(child.pid, "model:*")


async def test_a_session_lists_and_narrows_its_own(autojump_clock: Any) -> None:
    async with up() as machine:
        (everything,) = await machine.sys.rights.list()
        assert (everything.right, everything.pid, everything.info.left_s) == ("**", machine.sys.pid, None)
        narrow = await everything.attenuate("model:* embed", life_s=60.0, uses=2)
        assert narrow.info.uses_left == 2 and narrow.info.left_s == pytest.approx(60.0)
        assert narrow.info.giver == machine.sys.pid
        with pytest.raises(PermissionDenied, match="more than"):
            await narrow.attenuate("model:*")
        assert await narrow.revoke() == 1
        assert await machine.sys.call(model.LIST)

"""The account family on a whole kernel: limits of every resource, QUOTA, transfers, and who may ask for what."""

from typing import Any

import pytest
import trio

from kernel.sys.account import ACCOUNTS_AT_ONCE, usage
from kernel.trap import Trap
from kernos.testing import up
from syscalls.calls import account as abi
from syscalls.calls.process import Budget
from syscalls.errors import Invalid, NoSuchProcess, NotFound, OverQuota, PermissionDenied, SyscallError
from syscalls.resources import Resource
from syscalls.turns import user
from tests.turns import counted
from userland.sdk.encoding import decode
from userland.sdk.program import program
from userland.sdk.system import Sys

RIGHTS = ("model:*", "context:own", "process:children", "program:*", "account:own usage")


def row(info: Any, resource: str) -> tuple[int, int, int | None]:
    found = [each for each in info.resources if each.resource == resource]
    return (found[0].used, found[0].held, found[0].limit) if found else (0, 0, None)


@program
async def rests(sys: Sys) -> None:
    await sys.sleep(1e9)


@program
async def asks(sys: Sys, times: int) -> list[str]:
    said = []
    for _ in range(times):
        try:
            said.append((await sys.generate(user("hi"), max_tokens=10)).text)
        except SyscallError as refused:
            said.append(refused.errno.name)
    return said


@program
async def listens(sys: Sys) -> list[str]:
    """Hits its budget, and hears of it."""
    heard: list[str] = []
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            async for name in sys.signals():
                heard.append(name)
                nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        for _ in range(2):
            with pytest.raises(OverQuota):
                await sys.generate(user("hi"), max_tokens=1000)
        await sys.sleep(5)
    return heard


@program
async def parents(sys: Sys) -> list[str]:
    """Its child hits this one's budget."""
    heard: list[str] = []
    child = await sys.spawn(asks, 2)
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            async for name in sys.signals():
                heard.append(name)

        nursery.start_soon(listen)
        await child.wait()
        nursery.cancel_scope.cancel()
    return heard


async def test_usage_tells_of_every_resource_and_every_model(autojump_clock: Any) -> None:
    async with up(script=["twelve chars"] * 2, config={"prices": {"sim": {"input": "1", "output": "2"}}}) as machine:
        async with await machine.sys.open() as context:
            await context.append(user("hi"))
            await context.generate()
            info = await machine.sys.account().usage()
            read, made = row(info, "tokens_in")[0], row(info, "tokens_out")[0]
            assert (read, made) == (row(info, "tokens")[0] - 13, 13)
            assert row(info, "money_micros") == (read + 2 * made, 0, None)
            assert row(info, "contexts") == (1, 0, None)
            assert row(info, "bytes_stored")[0] > 10
        info = await machine.sys.account().usage()
        assert row(info, "contexts") == row(info, "bytes_stored") == (0, 0, None)
        (model,) = info.models
        assert (model.model, model.jobs, model.tokens_in, model.tokens_out) == ("sim@1", 1, read, made)
        assert model.money_micros == read + 2 * made


async def test_who_hits_a_limit_gets_equota_each_time_and_quota_once(autojump_clock: Any) -> None:
    async with up() as machine:
        assert await machine.run(listens, budget=Budget(tokens=100)) == ["QUOTA"]


async def test_whose_limit_it_is_gets_quota_too(autojump_clock: Any) -> None:
    async with up() as machine:
        machine.know(asks)
        assert await machine.run(parents, budget=Budget(tokens=5)) == ["QUOTA", "CHLD"]


async def test_processes_are_limited_alive_and_given_back(autojump_clock: Any) -> None:
    async with up(config={"accounts": {"test": {"processes": 2}}}) as machine:
        first, second = await machine.spawn(rests), await machine.spawn(rests)
        with pytest.raises(OverQuota, match="account test may use 2 processes, has used 2"):
            await machine.spawn(rests)
        await first.kill("KILL")
        await first.ended()
        third = await machine.spawn(rests)
        info = await machine.sys.account("test").usage()
        assert row(info, "processes") == (2, 0, 2)
        for each in (second, third):
            await each.kill("KILL")
            await each.ended()
        assert row(await machine.sys.account("test").usage(), "processes") == (0, 0, 2)


async def test_a_budget_without_processes_is_refused_at_the_spawn(autojump_clock: Any) -> None:
    async with up() as machine:
        with pytest.raises(OverQuota, match="0 processes"):
            await machine.spawn(rests, budget=Budget(processes=0))
        assert all(process.kind != "program" for process in machine.machine.processes)


async def test_contexts_are_limited_open_and_given_back(autojump_clock: Any) -> None:
    async with up(config={"accounts": {"test": {"contexts": 2}}}) as machine:
        first = await machine.sys.open()
        await first.append(user("x"))
        second = await first.fork()
        with pytest.raises(OverQuota, match="2 contexts"):
            await machine.sys.open()
        with pytest.raises(OverQuota, match="2 contexts"):
            await first.fork()
        await second.close()
        await (await first.fork()).close()
        with pytest.raises(Invalid):
            await machine.sys.open("no name!")
        assert row(await machine.sys.account().usage(), "contexts") == (1, 0, None)


async def test_bytes_are_limited_kept_by_name_and_given_back(autojump_clock: Any) -> None:
    async with up(config={"accounts": {"test": {"bytes": 1000}}}) as machine:
        context = await machine.sys.open()
        await context.append(user("x" * 600))
        with pytest.raises(OverQuota, match=r"account test may use 1000 B stored, .* more do not fit; close contexts"):
            await context.append(user("x" * 600))
        assert (await context.stat()).turns == 1
        await context.close()
        named = await machine.sys.open("kept")
        await named.append(user("x" * 600))
        await named.close()
        assert row(await machine.sys.account("test").usage(), "bytes_stored")[0] > 600


async def test_calls_are_limited_but_not_those_that_need_no_right(autojump_clock: Any) -> None:
    async with up() as machine:

        @program
        async def calls(sys: Sys) -> list[object]:
            await sys.children()
            await sys.children()
            with pytest.raises(OverQuota, match="2 calls"):
                await sys.children()
            print("still here")
            await sys.note("at the end")
            return [(await sys.self()).pid > 0]

        rights = ("process:* list",)
        assert await machine.run(calls, budget=Budget(calls=2), rights=rights) == [True]


async def test_generation_ends_when_its_time_is_used_up(autojump_clock: Any) -> None:
    async with up(script=["x" * 1000] * 3, model={"tokens_per_second": "10"}) as machine:

        @program
        async def talks(sys: Sys) -> tuple[int, str]:
            got = 0
            try:
                async for piece in sys.generate(user("hi"), max_tokens=500):
                    got += len(piece)
            except OverQuota as over:
                return got, str(over)
            return got, ""

        child = await machine.spawn(talks, budget=Budget(generation_s=2.5), name="talks")
        began = trio.current_time()
        exit_ = await machine.ended(child)
        assert trio.current_time() - began == pytest.approx(2.5, abs=0.01)
        got, why = decode(exit_.value)
        assert 24 <= got <= 25
        assert "may use 2.5 s of generation, has used 0.0 s and holds 2.5 s" in why
        assert machine.machine.accounts.charged[Resource.GENERATION] == pytest.approx(2_500_000, abs=10)


async def test_time_that_is_not_used_goes_back(autojump_clock: Any) -> None:
    async with up(script=["x" * 4] * 9, model={"tokens_per_second": "10"}) as machine:
        assert await machine.run(asks, 4, budget=Budget(generation_s=3.5)) == ["xxxx"] * 4


async def test_money_per_second_is_held_as_time_passes(autojump_clock: Any) -> None:
    prices = {"sim": {"second": "0.5"}}
    async with up(script=["x" * 1000], model={"tokens_per_second": "10"}, config={"prices": prices}) as machine:
        child = await machine.spawn(asks, 1, budget=Budget(money_micros=250_000))
        began = trio.current_time()
        await machine.ended(child)
        assert trio.current_time() - began == pytest.approx(0.5, abs=0.01)


async def test_clip_asks_for_what_money_can_buy(autojump_clock: Any) -> None:
    async with up(script=["x" * 100], config={"prices": {"sim": {"output": "10"}}}) as machine:

        @program
        async def clips(sys: Sys) -> int:
            return len((await sys.generate(user("hi"), max_tokens=90, clip=True)).text)

        assert await machine.run(clips, budget=Budget(money_micros=305)) == 30


async def test_limits_are_set_and_bind_at_once(autojump_clock: Any) -> None:
    async with up(script=["hello"] * 9) as machine:
        child = await machine.spawn(rests, budget=Budget(tokens=100))
        info = await machine.sys.account(child.pid).limit({"tokens": 7, "calls": 3, "money_micros": 5})
        assert [row(info, each)[2] for each in ("tokens", "calls", "money_micros")] == [7, 3, 5]
        info = await machine.sys.account(child.pid).limit({"tokens": None})
        assert [row(info, each)[2] for each in ("tokens", "calls")] == [None, 3]
        await machine.sys.account("test").limit({"tokens": 10})
        with pytest.raises(OverQuota, match="account test may use 10 tokens"):
            await machine.sys.generate(user("hi"), max_tokens=100)
        await child.kill("KILL")


async def test_allowance_moves_all_or_none(autojump_clock: Any) -> None:
    async with up() as machine:
        left = await machine.spawn(rests, budget=Budget(tokens=100, calls=10))
        right = await machine.spawn(rests, budget=Budget(tokens=50, calls=5))
        account = machine.sys.account
        await account(left.pid).transfer(right.pid, {"tokens": 30, "calls": 10})
        with pytest.raises(OverQuota, match="has 0 left, not 1"):
            await account(left.pid).transfer(right.pid, {"tokens": 5, "calls": 1})
        with pytest.raises(Invalid, match="no limit on money"):
            await account(left.pid).transfer(right.pid, {"money_micros": 5})
        with pytest.raises(Invalid, match="neither siblings"):
            await account(left.pid).transfer("kernel", {"tokens": 5})
        with pytest.raises(Invalid, match="no amounts"):
            await account(left.pid).transfer(right.pid, {})
        with pytest.raises(Invalid, match="0 or more"):
            await account(left.pid).transfer(right.pid, {"tokens": -5})
        assert row(await account(left.pid).usage(), "tokens")[2] == 70
        assert row(await account(right.pid).usage(), "tokens")[2] == 80
        assert row(await account(right.pid).usage(), "calls")[2] == 15
        for each in (left, right):
            await each.kill("KILL")


async def test_accounts_that_are_not_there(autojump_clock: Any) -> None:
    async with up() as machine:
        with pytest.raises(NotFound, match="there are kernel, kernel:overhead, test"):
            await machine.sys.account("nobody").usage()
        with pytest.raises(NoSuchProcess):
            await machine.sys.account(999).usage()
        with pytest.raises(Invalid, match="no limits"):
            await machine.sys.account("test").limit({})
        with pytest.raises(Invalid, match="no resource 'happiness': there are tokens_in"):
            await machine.sys.account("test").limit({"happiness": 1})


async def test_one_sees_ones_own_and_with_the_right_ones_childrens(autojump_clock: Any) -> None:
    async with up() as machine:

        @program
        async def looks(sys: Sys, address: str | None) -> str:
            try:
                return (await sys.account(address).usage()).name
            except PermissionDenied as refused:
                return str(refused)

        @program
        async def raises(sys: Sys) -> str:
            with pytest.raises(PermissionDenied):
                await sys.account().limit({"tokens": 10**6})
            child = await sys.spawn("rests", budget=Budget(tokens=5))
            info = await sys.account(child.pid).limit({"tokens": 7})
            await child.kill("KILL")
            return str(row(info, "tokens"))

        machine.know(rests)
        assert await machine.run(looks, None, rights=RIGHTS) == "looks"
        assert "lacks the right 'account:test usage'" in await machine.run(looks, "test", rights=RIGHTS)
        rights = (*RIGHTS, "account:children limit")
        assert await machine.run(raises, rights=rights, budget=Budget(tokens=3)) == "(0, 0, 7)"


async def test_the_tree_is_told_parents_first(autojump_clock: Any) -> None:
    accounts = {"team": {"tokens": 1000}, "test": {"parent": "team", "calls": 500}}
    async with up(config={"accounts": accounts}) as machine:
        child = await machine.spawn(rests)
        told = await machine.sys.account("team").tree()
        assert [(each.name, each.depth, each.parent) for each in told[:3]] == [
            ("team", 0, "kernel"),
            ("test", 1, "team"),
            ("session:test", 2, "test"),
        ]
        assert (told[3].pid, told[3].depth) == (child.pid, 3)
        assert [each.room for each in told[3].resources if each.resource == "tokens"] == [1000]
        await child.kill("KILL")


async def test_others_have_their_turn_while_a_large_tree_is_told(autojump_clock: Any) -> None:
    async with up() as machine:
        accounts, top = machine.machine.accounts, machine.machine.ledger.root
        for n in range(32 * ACCOUNTS_AT_ONCE):
            accounts.open(top, name=f"a{n}", principal="test")
        trap = Trap(
            process=machine.machine.processes.get(machine.sys.pid), row=abi.USAGE, emit=print,
            room=trio.lowlevel.checkpoint,
        )  # fmt: skip
        async with counted() as turns:
            told = await usage(machine.machine, trap, abi.Usage(account="kernel", tree=True))
    assert len(told.accounts) > 32 * ACCOUNTS_AT_ONCE and turns.had >= 16

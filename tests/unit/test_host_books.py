"""What accounts were charged is what driver hosts did, by the hosts' own count: under concurrency, when calls are
cancelled, and when hosts die; what nobody asked for is the kernel's."""

import random
from typing import Any

import pytest
import trio

from kernel.hosts.host_books import HostBooks
from kernos.testing import up
from kernos.testing.machine import InProcess
from syscalls.calls.process import Budget
from syscalls.errors import SyscallError
from syscalls.resources import Resource
from syscalls.turns import user
from userland.sdk.program import program
from userland.sdk.system import Sys

TOKENS = Resource.TOKENS


@program
async def talks(sys: Sys, seed: int) -> int:
    """Generates at random, giving up some of it; what it saw of it."""
    dice = random.Random(seed)
    seen = 0
    async with await sys.open() as context:
        for _ in range(4):
            await context.append(user("x" * dice.randrange(1, 40)))
            with trio.move_on_after(dice.choice((0.3, 1.0, 100.0))):
                try:
                    seen += len((await context.generate(max_tokens=dice.randrange(1, 60))).text)
                except SyscallError as over:
                    assert over.errno.name == "EQUOTA", over
    return seen


def counted(machine: InProcess) -> int:
    """What all hosts that there ever were say they did."""
    return sum(sum(count()) for count in machine.hosts.counts)


def kill_hosts(machine: InProcess) -> None:
    for host in machine.hosts.running:
        host.signal(9)


async def settled(machine: InProcess) -> None:
    """Until hosts have heard of cancellations."""
    await trio.sleep(60)
    for host in machine.machine.devices.hosts():
        host.books.balance()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kill_every_s", [0.0, 0.7])
async def test_charges_are_what_hosts_did(seed: int, kill_every_s: float, autojump_clock: Any) -> None:
    async with up(script=["y" * 50] * 200, model={"tokens_per_second": "20"}) as machine:
        accounts = machine.machine.accounts
        team = machine.machine.ledger.account("test")
        accounts.limit(team, TOKENS, 3000)

        async def kill() -> None:
            dice = random.Random(seed)
            while True:
                await trio.sleep(kill_every_s * dice.uniform(0.5, 1.5))
                kill_hosts(machine)

        async def watch() -> None:
            while True:
                await trio.sleep(0.05)
                accounts.check()
                assert team.used[TOKENS] + team.held[TOKENS] <= 3000

        async with trio.open_nursery() as outer:
            if kill_every_s:
                outer.start_soon(kill)
            outer.start_soon(watch)
            async with trio.open_nursery() as nursery:
                for n in range(5):
                    budget = Budget(tokens=400) if n == 4 else None

                    async def run(n: int = n, budget: Budget | None = budget) -> None:
                        await machine.run(talks, seed * 10 + n, budget=budget)

                    nursery.start_soon(run)
            outer.cancel_scope.cancel()
        await settled(machine)
        assert not any(team.held)
        assert accounts.tokens == counted(machine) > 0
        assert accounts.tokens == team.used[TOKENS] + accounts.overhead.used[TOKENS]
        if kill_every_s:
            assert accounts.overhead.used[TOKENS] > 0


async def test_who_asked_pays_what_it_got_and_the_kernel_what_a_death_cost(autojump_clock: Any) -> None:
    async with up(script=["y" * 50], model={"tokens_per_second": "10"}) as machine:

        @program
        async def asks(sys: Sys) -> tuple[int, int, int]:
            answer = await sys.generate(user("hello"), max_tokens=40)
            return answer.usage.prompt_tokens, answer.usage.generated_tokens, len(answer.text)

        usage: list[int] = []

        async def run() -> None:
            usage.extend(await machine.run(asks))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.sleep(2.05)
            kill_hosts(machine)
        await settled(machine)
        prompt, generated, length = usage
        accounts = machine.machine.accounts
        caller = machine.machine.ledger.account("test")
        assert (prompt, generated) == (8, 40) == (8, length)
        assert caller.used[Resource.TOKENS_IN] == prompt
        assert caller.used[Resource.TOKENS_OUT] == generated
        again = accounts.overhead.used[Resource.TOKENS_IN]
        assert again > prompt, "the prompt and what was made were read once more"
        assert accounts.tokens == counted(machine)


async def test_embedding_and_scoring_are_counted_too(autojump_clock: Any) -> None:
    async with up() as machine:
        await machine.sys.embed("one", "two words")
        await machine.sys.models.score("a prompt", "x", "yy")
        assert machine.machine.accounts.tokens == counted(machine) > 0


def test_nothing_is_paid_while_somebody_may_still_be_charged() -> None:
    paid: list[tuple[int, int]] = []
    books = HostBooks(lambda read, generated: paid.append((read, generated)))
    did = [0, 0]
    books.take(lambda: (did[0], did[1]))
    with books.charging():
        did[:] = [10, 3]
        books.balance()
        assert paid == []
        books.read += 6
    assert paid == [(4, 3)]
    books.take(lambda: (5, 0))
    assert books.done == (15, 3)
    books.balance()
    assert paid == [(4, 3), (5, 0)]

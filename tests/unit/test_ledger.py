"""The ledger: named accounts outlive the kernel, and what they used is committed with what they did."""

from pathlib import Path
from typing import Any

import pytest
import trio

from kernel.accounts.account import Accounts
from kernel.accounts.account_record import Account, tokens
from kernel.accounts.price import PICOS
from kernel.clock import Clock
from kernel.config import Config, ConfigError, load
from kernel.ledger import FAMILY, KEEP_S, Ledger
from kernel.truth import Truth
from kernel.watch.trace import Trace
from syscalls.errors import IOFailed
from syscalls.resources import Resource

TOKENS, MONEY, CALLS = Resource.TOKENS, Resource.MONEY, Resource.CALLS
TOML = """
[accounts.team]
tokens = 1000
money = 2.5
generation = 90

[accounts.ann]
parent = "team"
tokens = 600

[prices.m]
input = 0.15
"""


class Life:
    """A kernel's accounts for as long as it lives, on a truth that outlives it."""

    def __init__(self, truth: Truth, toml: str = TOML) -> None:
        self.truth = truth
        clock = Clock()
        self.accounts = Accounts(clock.now)
        trace = Trace(clock, 100)
        self.ledger = Ledger(config=configured(toml), truth=truth, accounts=self.accounts, trace=trace)

    async def boot(self) -> Account:
        await self.ledger.boot()
        return self.ledger.account("ann")


def configured(toml: str) -> Config:
    import msgspec

    return msgspec.toml.decode(toml, type=Config)


async def lived(truth: Truth, toml: str = TOML) -> tuple[Life, Account]:
    life = Life(truth, toml)
    return life, await life.boot()


async def test_what_was_used_survives(autojump_clock: Any) -> None:
    truth = Truth.in_memory()
    life, ann = await lived(truth)
    process = life.accounts.open(ann, name="p", principal="ann")
    life.accounts.charge(process, life.accounts.cost("m@1", 100, 20), model="m@1")
    life.accounts.count_call(process)
    life.accounts.charge(life.ledger.account("bob"), tokens(7))
    life.accounts.close(process)
    await life.ledger.close()

    life, ann = await lived(truth)
    team = life.ledger.account("team")
    assert (ann.used[TOKENS], team.used[TOKENS], life.ledger.root.used[TOKENS]) == (120, 120, 120)
    assert life.ledger.account("bob").used[TOKENS] == 7
    assert life.ledger.root.used[TOKENS] == 127
    assert ann.used[MONEY] == 100 * 150_000
    assert life.accounts.used(team, CALLS) == 1
    assert ann.models is not None
    assert ann.models["m@1"].tokens_in == 100
    assert ann.room(TOKENS) == 480
    life.accounts.check()


async def test_it_is_written_with_whoever_writes(autojump_clock: Any) -> None:
    truth = Truth.in_memory()
    life, ann = await lived(truth)
    commits = truth.commits
    life.accounts.charge(ann, tokens(5))
    await truth.set_fact("other", "x", b"y")
    assert truth.commits == commits + 1
    await life.ledger.keep()
    assert truth.commits == commits + 1
    _, ann = await lived(truth)
    assert ann.used[TOKENS] == 5


async def test_a_commit_that_fails_takes_nothing_along_and_the_next_one_does(autojump_clock: Any) -> None:
    truth = Truth.in_memory()
    life, ann = await lived(truth)
    life.accounts.charge(ann, tokens(5))

    def fails(db: Any) -> None:
        raise IOFailed("full")

    with pytest.raises(IOFailed):
        await truth.commit(fails)
    assert await truth.facts(FAMILY) == []
    await life.ledger.keep()
    assert [name for name, _ in await truth.facts(FAMILY)] == ["ann", "kernel", "team"]


async def test_what_nobody_takes_along_is_written_a_moment_later(autojump_clock: Any) -> None:
    truth = Truth.in_memory()
    life, ann = await lived(truth)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.ledger.run)
        life.accounts.charge(ann, tokens(5))
        await trio.sleep(KEEP_S * 1.5)
        commits = truth.commits
        assert commits == 1
        await trio.sleep(1000)
        assert truth.commits == commits
        nursery.cancel_scope.cancel()


async def test_a_limit_that_was_set_holds_until_the_configuration_says_something_else(autojump_clock: Any) -> None:
    truth = Truth.in_memory()
    life, ann = await lived(truth)
    life.ledger.limit(ann, TOKENS, 50)
    life.ledger.limit(ann, CALLS, 9)
    life.ledger.limit(life.ledger.account("team"), MONEY, None)
    await life.ledger.close()

    life, ann = await lived(truth)
    assert ann.limits == {TOKENS: 50, CALLS: 9}
    assert MONEY not in life.ledger.account("team").limits
    await life.ledger.close()

    _, ann = await lived(truth, TOML.replace("600", "700"))
    assert ann.limits == {TOKENS: 700, CALLS: 9}


async def test_what_was_moved_stays_moved(autojump_clock: Any) -> None:
    toml = TOML + '[accounts.bob]\nparent = "team"\ntokens = 100\n'
    truth = Truth.in_memory()
    life, ann = await lived(truth, toml)
    life.ledger.transfer(ann, life.ledger.account("bob"), {TOKENS: 200})
    await life.ledger.close()
    life, ann = await lived(truth, toml)
    assert (ann.limits[TOKENS], life.ledger.account("bob").limits[TOKENS]) == (400, 300)


async def test_money_beyond_64_bits_is_kept(autojump_clock: Any) -> None:
    truth = Truth.in_memory()
    life, ann = await lived(truth)
    life.accounts.charge(ann, {MONEY: 10**25})
    await life.ledger.close()
    _, ann = await lived(truth)
    assert ann.used[MONEY] == 10**25


async def test_limits_and_prices_of_the_configuration(autojump_clock: Any) -> None:
    life, ann = await lived(Truth.in_memory())
    team = life.ledger.account("team")
    assert team.limits == {TOKENS: 1000, MONEY: 2_500_000 * PICOS, Resource.GENERATION: 90_000_000}
    assert ann.parent is team
    assert life.ledger.price("m@3").input == life.ledger.price("m").input > 0
    assert life.ledger.price("other").input == 0


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[accounts.a]\nparent = 'b'", "'b' is no account of this file"),
        ("[accounts.a]\nparent = 'b'\n[accounts.b]\nparent = 'a'", "lead back to itself: a < b < a"),
        ("[accounts.a]\nparent = 'a'", "lead back to itself"),
        ("[accounts.a]\ntokens = -1", "0 or more"),
        ("[accounts.a]\nmoney = 0.0000001", "a millionth"),
        ("[accounts.a]\ntoken = 1", "unknown field `token`"),
        ("[accounts.17]\ntokens = 1", "or digits alone"),
        ("[accounts.own]\ntokens = 1", "or digits alone"),
        ("[prices.m]\ninput = -0.1", "at most six decimals"),
        ("[prices.m]\ninput = 'dear'", "decimal"),
    ],
)
def test_configurations_that_are_refused(toml: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "kernos.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError, match=says):
        load(path)

"""Accounts: all or none, settled once, given back, and books that balance whatever happens."""

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from kernel.accounts.account import Accounts
from kernel.accounts.account_record import Account, Amounts, Hold, tokens
from kernel.accounts.price import PICOS, Price, micros
from kernel.panic import KernelPanic
from syscalls.errors import OverQuota
from syscalls.resources import NAMES, OCCUPIED, WORDS, Resource, parse_amount, show_amount

TOKENS, CALLS, BYTES = Resource.TOKENS, Resource.CALLS, Resource.BYTES
CONSUMED = [each for each in Resource if each not in OCCUPIED and each is not CALLS]


def books() -> Accounts:
    return Accounts(lambda: 100.0)


def opened(
    accounts: Accounts, parent: Account | None = None, *, name: str = "a", wall_s: float | None = None, **limits: int
) -> Account:
    given = {Resource(NAMES.index(each)): limit for each, limit in limits.items()}
    return accounts.open(parent, name=name, principal="ann", limits=given, wall_s_max=wall_s)


def test_a_hold_counts_on_every_ancestor() -> None:
    accounts = books()
    top = opened(accounts, tokens=100)
    child = opened(accounts, top)
    accounts.hold(child, tokens(40, 20))
    assert (child.held[TOKENS], top.held[TOKENS], top.held[Resource.TOKENS_OUT]) == (60, 60, 20)
    assert accounts.room(child) == 40


def test_a_hold_that_an_ancestor_cannot_pay_holds_nothing_anywhere() -> None:
    accounts = books()
    top = opened(accounts, name="top", tokens=50)
    child = opened(accounts, top, tokens=1000)
    with pytest.raises(OverQuota, match=r"account top may use 50 tokens, has used 0 and holds 0: 60 more do not fit"):
        accounts.hold(child, tokens(30, 30))
    assert not any((*child.held, *top.held))


def test_one_resource_that_does_not_fit_holds_none_of_the_others() -> None:
    accounts = books()
    top = opened(accounts, tokens=1000, money_micros=5 * PICOS)
    with pytest.raises(OverQuota, match=r"may use 0.000005 money.* 0.000006 more .*--limit money="):
        accounts.hold(top, {**tokens(10, 10), Resource.MONEY: 6 * PICOS})
    assert not any(top.held)


def test_tokens_in_out_and_both_are_limits_of_their_own() -> None:
    accounts = books()
    top = opened(accounts, tokens_in=50, tokens_out=10)
    with pytest.raises(OverQuota, match="tokens_out"):
        accounts.hold(top, tokens(1, 11))
    with pytest.raises(OverQuota, match="tokens_in"):
        accounts.hold(top, tokens(51, 1))
    accounts.settle(accounts.hold(top, tokens(50, 10)), tokens(50, 3))
    assert accounts.room(top, Resource.TOKENS_OUT) == 7


def test_settling_charges_what_was_used_and_frees_the_rest() -> None:
    accounts = books()
    top = opened(accounts, tokens=100)
    hold = accounts.hold(top, tokens(50, 30))
    assert accounts.settle(hold, tokens(20, 10)) == 0
    assert (top.used[TOKENS], top.held[TOKENS], accounts.tokens) == (30, 0, 30)


def test_a_driver_that_did_more_than_was_held_is_charged_for_in_full() -> None:
    accounts = books()
    top = opened(accounts, tokens=100)
    assert accounts.settle(accounts.hold(top, tokens(80)), tokens(130)) == 50
    assert top.used[TOKENS] == 130
    assert accounts.room(top) == 0
    with pytest.raises(OverQuota):
        accounts.hold(top, tokens(1))


def test_settling_twice_is_a_contradiction() -> None:
    accounts = books()
    hold = accounts.hold(opened(accounts), tokens(10))
    accounts.settle(hold, tokens(10))
    with pytest.raises(KernelPanic, match="twice"):
        accounts.settle(hold, tokens(10))


def test_the_earliest_deadline_on_the_way_up_counts() -> None:
    accounts = books()
    top = opened(accounts, wall_s=5)
    assert accounts.wall_deadline(opened(accounts, top, wall_s=50)) == 105.0
    assert accounts.wall_deadline(opened(accounts, top)) == 105.0
    assert accounts.wall_deadline(opened(accounts)) is None


def test_a_closed_account_settles_what_is_under_way_and_holds_nothing_new() -> None:
    accounts = books()
    top = opened(accounts)
    child = opened(accounts, top)
    hold = accounts.hold(child, tokens(10))
    accounts.close(child)
    with pytest.raises(OverQuota, match="closed"):
        accounts.hold(child, tokens(1))
    with pytest.raises(OverQuota, match="closed"):
        opened(accounts, child)
    accounts.settle(hold, tokens(7))
    assert top.used[TOKENS] == 7
    assert child not in set(accounts.all())
    accounts.charge(child, tokens(1))
    assert top.used[TOKENS] == 8
    accounts.check()


def test_what_a_closed_account_keeps_is_given_back_through_its_parent() -> None:
    accounts = books()
    top = opened(accounts, bytes_stored=100)
    child = opened(accounts, top)
    accounts.store(child, 80)
    with pytest.raises(OverQuota, match=r"80 B .* 21 B more"):
        accounts.store(opened(accounts, top), 21)
    accounts.close(child)
    assert top.used[BYTES] == 80
    accounts.store(child, -80)
    assert top.used[BYTES] == 0
    accounts.check()


def test_no_more_is_given_back_than_there_is() -> None:
    accounts = books()
    top = opened(accounts)
    child = opened(accounts, top)
    accounts.store(child, 5)
    assert accounts.vacate(child, BYTES, 9) == 5
    assert (child.used[BYTES], top.used[BYTES]) == (0, 0)


def test_calls_without_a_limit_are_counted_in_one_place_and_summed_when_asked() -> None:
    accounts = books()
    top = opened(accounts)
    child = opened(accounts, top)
    for _ in range(3):
        accounts.count_call(child)
    assert top.used[CALLS] == 0
    assert accounts.used(top, CALLS) == 3
    accounts.close(child)
    assert accounts.used(top, CALLS) == 3


def test_a_limit_on_calls_binds_all_below_it_also_when_it_is_set_later() -> None:
    accounts = books()
    top = opened(accounts)
    left, right = opened(accounts, top), opened(accounts, top)
    accounts.count_call(left)
    accounts.limit(top, CALLS, 3)
    accounts.count_call(left)
    accounts.count_call(right)
    with pytest.raises(OverQuota, match="3 calls"):
        accounts.count_call(right)
    assert accounts.used(top, CALLS) == top.used[CALLS] == 3
    accounts.limit(top, CALLS, None)
    accounts.count_call(right)
    accounts.check()


def test_who_is_refused_is_told_once_until_there_is_room_again() -> None:
    accounts = books()
    told: list[tuple[Account, Account, Resource]] = []
    accounts.on_limit = lambda *said: told.append(said)
    top = opened(accounts, tokens=10)
    child = opened(accounts, top)
    for _ in range(3):
        with pytest.raises(OverQuota):
            accounts.hold(child, tokens(11))
    assert told == [(child, top, TOKENS)]
    accounts.limit(top, TOKENS, 20)
    with pytest.raises(OverQuota):
        accounts.hold(child, tokens(21))
    assert len(told) == 2


def test_allowance_moves_between_siblings_and_between_parent_and_child() -> None:
    accounts = books()
    top = opened(accounts, name="top", tokens=100)
    left, right = opened(accounts, top, tokens=60), opened(accounts, top, tokens=10)
    accounts.charge(left, tokens(50))
    accounts.transfer(left, right, {TOKENS: 10})
    assert (left.limits[TOKENS], right.limits[TOKENS]) == (50, 20)
    with pytest.raises(OverQuota, match="has 0 left, not 1"):
        accounts.transfer(left, right, {TOKENS: 1})
    accounts.transfer(top, left, {TOKENS: 5})
    assert (top.limits[TOKENS], left.limits[TOKENS]) == (100, 55)
    accounts.transfer(left, top, {TOKENS: 5})
    assert (top.limits[TOKENS], left.limits[TOKENS]) == (100, 50)


def test_allowance_is_not_moved_where_there_is_no_limit_or_no_kinship() -> None:
    accounts = books()
    top = opened(accounts, tokens=100)
    left, right = opened(accounts, top, tokens=60), opened(accounts, top)
    grandchild = opened(accounts, left, tokens=1)
    with pytest.raises(ValueError, match="no limit"):
        accounts.transfer(left, right, {TOKENS: 1})
    with pytest.raises(ValueError, match="siblings"):
        accounts.transfer(top, grandchild, {TOKENS: 1})
    with pytest.raises(ValueError, match="siblings"):
        accounts.transfer(left, left, {TOKENS: 1})


def test_what_models_did_is_kept_apart() -> None:
    accounts = books()
    top = opened(accounts)
    child = opened(accounts, top)
    accounts.settle(accounts.hold(child, tokens(10, 10)), tokens(10, 4), model="m@1", cached=6)
    accounts.charge(child, tokens(1), model="e")
    assert top.models is not None
    use = top.models["m@1"]
    assert (use.jobs, use.tokens_in, use.tokens_out, use.cached) == (1, 10, 4, 6)
    assert set(top.models) == {"m@1", "e"}


def test_models_beyond_the_bound_share_a_line() -> None:
    accounts = books()
    top = opened(accounts)
    for n in range(100):
        accounts.charge(top, tokens(1), model=f"m{n}")
    assert top.models is not None
    assert len(top.models) == 65
    assert sum(use.tokens_in for use in top.models.values()) == 100


money = st.integers(0, 10**9).map(lambda n: Decimal(n) / 10**6)


@given(
    input=money, output=money, cached=st.none() | money, second=money,
    jobs=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**7)), max_size=20),
)  # fmt: skip
def test_money_is_exact_and_never_above_the_worst_case(
    input: Decimal, output: Decimal, cached: Decimal | None, second: Decimal, jobs: list[tuple[int, int, int]]
) -> None:
    price = Price(input=input, output=output, cached_input=cached, second=second)
    exact, total = Fraction(0), 0
    for read, made, us in jobs:
        hits = read // 3
        did = price.cost(read, made, cached=hits, generation_us=us)
        assert did <= price.worst(read, made, generation_us=us)
        total += did
        exact += (read - hits) * Fraction(input) / 10**6 + hits * Fraction(input if cached is None else cached) / 10**6
        exact += made * Fraction(output) / 10**6 + us * Fraction(second) / 10**6
    assert Fraction(total, 10**12) == exact
    assert micros(total) - 1 < exact * 10**6 <= micros(total)


@pytest.mark.parametrize("amount", ["-1", "0.0000001", "NaN", "1e12"])
def test_prices_that_are_none(amount: str) -> None:
    with pytest.raises(ValueError, match="at most six decimals"):
        Price(input=Decimal(amount))


@pytest.mark.parametrize(
    ("word", "text", "expected"),
    [
        ("tokens", "20k", ("tokens", 20_000)),
        ("tokens", "1.5M", ("tokens", 1_500_000)),
        ("money", "0.50", ("money_micros", 500_000)),
        ("generation", "90s", ("generation_us", 90_000_000)),
        ("generation", "2 m", ("generation_us", 120_000_000)),
        ("bytes", "4KiB", ("bytes_stored", 4096)),
        ("calls", "0", ("calls", 0)),
    ],
)
def test_amounts_as_people_write_them(word: str, text: str, expected: tuple[str, int]) -> None:
    assert parse_amount(word, text) == expected


@pytest.mark.parametrize(
    ("word", "text", "says"),
    [
        ("token", "1", "there are tokens, tokens_in"),
        ("tokens", "lots", "write a number"),
        ("tokens", "1.5", "nothing finer than 1"),
        ("tokens", "-1", "0 or more"),
        ("tokens", "9" * 25, "at most"),
        ("money", "0.0000001", "a millionth"),
        ("money", "5$", "write a number"),
        ("bytes", "1e400", "write a number"),
        ("tokens", "", "write a number"),
        ("tokens", "inf", "write a number"),
    ],
)
def test_amounts_that_are_none(word: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_amount(word, text)


def test_amounts_for_people() -> None:
    assert show_amount("money_micros", 1_250_000) == "1.25"
    assert show_amount("money_micros", 10_000_000) == "10"
    assert show_amount("generation_us", 2_540_000) == "2.5 s"
    assert show_amount("bytes_stored", 12 * 1024) == "12.0 KiB"
    assert all(parse_amount(word, "3")[0] in NAMES for word in WORDS)


class Books(RuleBasedStateMachine):
    """Any order of everything, against sums made from scratch."""

    accounts_made: Any = Bundle("accounts")
    holds: Any = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.accounts = books()
        self.made: list[Account] = []
        self.did: Counter[tuple[Account, Resource]] = Counter()
        self.total: Counter[Resource] = Counter()
        self.overran: set[tuple[Account, Resource]] = set()

    @initialize(target=accounts_made)
    def root(self) -> Account:
        return self._open(None, {})

    @rule(
        target=accounts_made,
        parent=accounts_made,
        limits=st.dictionaries(st.sampled_from(Resource), st.integers(0, 100), max_size=3),
    )
    def open(self, parent: Account, limits: dict[Resource, int]) -> Account:
        return parent if parent.closed else self._open(parent, limits)

    def _open(self, parent: Account | None, limits: dict[Resource, int]) -> Account:
        account = self.accounts.open(parent, name="x", principal="ann", limits=limits)
        self.made.append(account)
        return account

    def _fits(self, account: Account, amounts: Amounts) -> bool:
        return not account.closed and all(
            amount <= room
            for each in account.chain()
            for resource, amount in amounts.items()
            if (room := self._room(each, resource)) is not None
        )

    def _room(self, account: Account, resource: Resource) -> int | None:
        limit = account.limits.get(resource)
        return None if limit is None else max(0, limit - self._used(account, resource) - account.held[resource])

    def _used(self, account: Account, resource: Resource) -> int:
        """From scratch: all that was ever done here or below, by anybody."""
        return sum(n for (who, what), n in self.did.items() if what is resource and account in who.chain())

    def _state(self) -> list[tuple[list[int], list[int]]]:
        return [(list(each.used), list(each.held)) for each in self.made]

    @rule(
        target=holds,
        account=accounts_made,
        amounts=st.dictionaries(st.sampled_from(CONSUMED), st.integers(0, 60), max_size=4),
    )
    def hold(self, account: Account, amounts: dict[Resource, int]) -> Hold | None:
        fits, before = self._fits(account, amounts), self._state()
        try:
            hold = self.accounts.hold(account, amounts)
        except OverQuota:
            assert not fits
            assert before == self._state()
            return None
        assert fits
        return hold

    @rule(hold=holds, amount=st.integers(0, 30), resource=st.sampled_from(CONSUMED))
    def extend(self, hold: Hold | None, amount: int, resource: Resource) -> None:
        if hold is None or hold.settled:
            return
        fits, before = self._fits(hold.account, {resource: amount}), self._state()
        try:
            self.accounts.extend(hold, {resource: amount})
        except OverQuota:
            assert not fits
            assert before == self._state()

    @rule(hold=holds, share=st.fractions(0, 1))
    def settle(self, hold: Hold | None, share: Fraction) -> None:
        if hold is not None and not hold.settled:
            self._charged(hold.account, {each: int(share * amount) for each, amount in hold.amounts.items()}, hold)

    @rule(account=accounts_made, amount=st.integers(0, 20), resource=st.sampled_from(CONSUMED))
    def charge(self, account: Account, amount: int, resource: Resource) -> None:
        self._charged(account, {resource: amount}, None)
        self.overran.update((each, resource) for each in account.chain())

    def _charged(self, account: Account, done: Amounts, hold: Hold | None) -> None:
        if hold is None:
            self.accounts.charge(account, done)
        else:
            self.accounts.settle(hold, done)
        for resource, amount in done.items():
            self.did[account, resource] += amount
            self.total[resource] += amount

    @rule(account=accounts_made)
    def call(self, account: Account) -> None:
        if account.closed:
            return
        fits = self._fits(account, {CALLS: 1})
        try:
            self.accounts.count_call(account)
        except OverQuota:
            assert not fits
        else:
            assert fits
            self.did[account, CALLS] += 1

    @rule(account=accounts_made, resource=st.sampled_from(sorted(OCCUPIED)), amount=st.integers(0, 40))
    def occupy(self, account: Account, resource: Resource, amount: int) -> None:
        fits, before = self._fits(account, {resource: amount}), self._state()
        try:
            self.accounts.occupy(account, resource, amount)
        except OverQuota:
            assert not fits
            assert before == self._state()
        else:
            assert fits
            self.did[account, resource] += amount

    @rule(account=accounts_made, resource=st.sampled_from(sorted(OCCUPIED)), share=st.fractions(0, 1))
    def vacate(self, account: Account, resource: Resource, share: Fraction) -> None:
        amount = int(share * self.did[account, resource])
        assert self.accounts.vacate(account, resource, amount) == amount
        self.did[account, resource] -= amount

    @rule(account=accounts_made, resource=st.sampled_from(Resource), limit=st.none() | st.integers(0, 100))
    def limit(self, account: Account, resource: Resource, limit: int | None) -> None:
        if account.gone:
            return
        self.accounts.limit(account, resource, limit)
        self.overran.add((account, resource))  # it may have been set below what was used already

    @rule(source=accounts_made, into=accounts_made, resource=st.sampled_from(Resource), amount=st.integers(0, 40))
    def transfer(self, source: Account, into: Account, resource: Resource, amount: int) -> None:
        if source.gone or into.gone:
            return
        before = [dict(each.limits) for each in self.made]
        try:
            self.accounts.transfer(source, into, {resource: amount})
        except (OverQuota, ValueError):
            assert before == [dict(each.limits) for each in self.made]
            return
        siblings = source.parent is into.parent
        moved = {each: dict(each.limits) != old for each, old in zip(self.made, before, strict=True)}
        assert {each for each, changed in moved.items() if changed} <= {source, into}
        if siblings:
            old = dict(zip(self.made, before, strict=True))
            was = old[source][resource] + old[into][resource]
            assert source.limits[resource] + into.limits[resource] == was

    @rule(account=accounts_made)
    def close(self, account: Account) -> None:
        if account.parent is not None:
            self.accounts.close(account)

    @invariant()
    def balance(self) -> None:
        self.accounts.check()
        assert all(self.accounts.charged[resource] == self.total[resource] for resource in CONSUMED)
        for account in self.made:
            if account.gone:
                continue
            for resource in Resource:
                used = self.accounts.used(account, resource)
                assert used == self._used(account, resource)
                limit = account.limits.get(resource)
                if limit is not None and (account, resource) not in self.overran:
                    assert used + account.held[resource] <= limit


TestBooks = Books.TestCase

"""Accounts: all or none, settled once, and books that balance whatever happens."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from kernel.account import Account, Accounts, Hold
from kernel.panic import KernelPanic
from syscalls.errors import OverQuota


def books() -> Accounts:
    return Accounts(lambda: 100.0)


def opened(
    accounts: Accounts, parent: Account | None = None, *, tokens: int | None = None, wall_s: float | None = None
) -> Account:
    return accounts.open(parent, name=f"a{id(parent)}", principal="ann", tokens_max=tokens, wall_s_max=wall_s)


def test_a_hold_counts_on_every_ancestor() -> None:
    accounts = books()
    top = opened(accounts, tokens=100)
    child = opened(accounts, top)
    accounts.hold(child, 60)
    assert (child.held, top.held) == (60, 60)
    assert accounts.room(child) == 40


def test_a_hold_that_an_ancestor_cannot_pay_holds_nothing_anywhere() -> None:
    accounts = books()
    top = accounts.open(None, name="top", principal="ann", tokens_max=50, wall_s_max=None)
    child = opened(accounts, top, tokens=1000)
    with pytest.raises(OverQuota, match=r"account top may spend 50 tokens, has used 0 and holds 0: 60 more"):
        accounts.hold(child, 60)
    assert (child.held, top.held) == (0, 0)


def test_settling_charges_what_was_used_and_frees_the_rest() -> None:
    accounts = books()
    top = opened(accounts, tokens=100)
    hold = accounts.hold(top, 80)
    assert accounts.settle(hold, 30) == 0
    assert (top.used, top.held, accounts.charged) == (30, 0, 30)


def test_a_driver_that_did_more_than_was_held_is_charged_for_in_full() -> None:
    accounts = books()
    top = opened(accounts, tokens=100)
    assert accounts.settle(accounts.hold(top, 80), 130) == 50
    assert top.used == 130
    assert accounts.room(top) == 0
    with pytest.raises(OverQuota):
        accounts.hold(top, 1)


def test_settling_twice_is_a_contradiction() -> None:
    accounts = books()
    hold = accounts.hold(opened(accounts), 10)
    accounts.settle(hold, 10)
    with pytest.raises(KernelPanic, match="twice"):
        accounts.settle(hold, 10)


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
    hold = accounts.hold(child, 10)
    accounts.close(child)
    with pytest.raises(OverQuota, match="closed"):
        accounts.hold(child, 1)
    with pytest.raises(OverQuota, match="closed"):
        opened(accounts, child)
    accounts.settle(hold, 7)
    assert top.used == 7
    assert child not in set(accounts.all())
    accounts.check()


class Books(RuleBasedStateMachine):
    """Any order of opening, holding, settling, charging and closing."""

    accounts_made: Any = Bundle("accounts")
    holds: Any = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.accounts = books()
        self.did = 0
        self.limits: dict[Account, int | None] = {}
        self.overran: set[Account] = set()

    @initialize(target=accounts_made)
    def root(self) -> Account:
        return self._open(None, None)

    @rule(target=accounts_made, parent=accounts_made, limit=st.none() | st.integers(0, 100))
    def open(self, parent: Account, limit: int | None) -> Account:
        return parent if parent.closed else self._open(parent, limit)

    def _open(self, parent: Account | None, limit: int | None) -> Account:
        account = self.accounts.open(parent, name="x", principal="ann", tokens_max=limit, wall_s_max=None)
        self.limits[account] = limit
        return account

    @rule(target=holds, account=accounts_made, tokens=st.integers(0, 60))
    def hold(self, account: Account, tokens: int) -> Hold | None:
        room = self.accounts.room(account)
        before = {each: each.held for each in self.limits}
        try:
            hold = self.accounts.hold(account, tokens)
        except OverQuota:
            assert account.closed or (room is not None and tokens > room)
            assert before == {each: each.held for each in self.limits}
            return None
        assert room is None or tokens <= room
        return hold

    @rule(hold=holds, share=st.floats(0, 1))
    def settle(self, hold: Hold | None, share: float) -> None:
        if hold is not None and not hold.settled:
            used = int(share * hold.tokens)
            self.accounts.settle(hold, used)
            self.did += used

    @rule(account=accounts_made, tokens=st.integers(0, 20))
    def charge(self, account: Account, tokens: int) -> None:
        self.accounts.charge(account, tokens)
        self.did += tokens
        self.overran.update(account.chain())

    @rule(account=accounts_made)
    def close(self, account: Account) -> None:
        self.accounts.close(account)

    @invariant()
    def balance(self) -> None:
        self.accounts.check()
        assert self.accounts.charged == self.did
        for account, limit in self.limits.items():
            if limit is not None and account not in self.overran:
                assert account.used + account.held <= limit


TestBooks = Books.TestCase

"""Who pays for the bytes that conversations keep: the account that wrote them, for as long as they are there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from kernel.accounts.account import Accounts
from kernel.accounts.account_record import Account
from kernel.ledger import Ledger
from kernel.mm.conversation import Context
from syscalls.resources import Resource


@final
class Charges:
    """Bytes of turns as they came. Making pages of them, or sharing them with a fork, costs nothing more; a fork that
    is saved, and so no longer shares, pays for what it shared."""

    def __init__(self, accounts: Accounts, ledger: Ledger) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._left: dict[int, dict[Account, int]] = {}

    @contextmanager
    def growing(self, context: Context, account: Account, size: int) -> Iterator[None]:
        """Frames a write: its bytes are taken before it, and given back if it fails. Raises OverQuota."""
        self._accounts.store(account, size)
        context.stored_bytes += size
        context.payers[account] = context.payers.get(account, 0) + size
        try:
            yield
        except BaseException:
            self._accounts.store(account, -size)
            context.stored_bytes -= size
            context.payers[account] -= size
            raise

    @contextmanager
    def handle(self, account: Account) -> Iterator[None]:
        """Frames the making of a handle: it is counted before, and is not if that fails. Raises OverQuota."""
        self._accounts.occupy(account, Resource.CONTEXTS, 1)
        try:
            yield
        except BaseException:
            self.handle_gone(account)
            raise

    def handle_gone(self, account: Account) -> None:
        """A handle was given back."""
        self._accounts.vacate(account, Resource.CONTEXTS, 1)

    def booted(self, kept: dict[str, int]) -> None:
        """What named conversations keep from an earlier life, by principal."""
        for principal, size in kept.items():
            self._accounts.restore(self._ledger.account(principal), {Resource.BYTES: size})

    def left(self, context: Context) -> None:
        """A named conversation is on disk alone now; accounts that live go on paying for it."""
        self._left[context.id] = context.payers

    def reopened(self, context: Context, size: int) -> None:
        """It is back in memory."""
        context.stored_bytes = size
        context.payers = self._payers(context.id, context.principal, size)

    def gone(self, context: Context) -> None:
        """It was dropped: its bytes are given back."""
        for account, size in context.payers.items():
            self._accounts.store(account, -size)
        context.payers.clear()

    def forgotten(self, context: int, principal: str, size: int) -> None:
        """One that was on disk alone was dropped."""
        for account, part in self._payers(context, principal, size).items():
            self._accounts.store(account, -part)

    def _payers(self, context: int, principal: str, size: int) -> dict[Account, int]:
        """Who pays for one that was on disk; what an earlier life of the kernel kept is its principal's affair."""
        return self._left.pop(context, None) or {self._ledger.account(principal): size}

"""The ledger: the accounts that have names and outlive processes, and what they used, kept in the truth.

Each principal has one, opened when it first comes; kernos.toml gives them limits and parents. What they used rides in
the next commit of whoever writes the truth, so that a call's outcome and its charge are one transaction; `keep` makes
one where there would be none. Calls are counted without a commit: a crash loses those of processes that were alive.
"""

from collections.abc import Iterator, Sequence
from typing import final

import apsw
import msgspec
import trio
from msgspec import Struct

from kernel.accounts.account import Accounts
from kernel.accounts.account_record import Account, Amounts
from kernel.accounts.model_use import ModelUse
from kernel.accounts.price import FREE, PICOS, Price
from kernel.config import ROOT_ACCOUNT, AccountConfig, Config
from kernel.truth import Truth
from kernel.watch.trace import Trace
from syscalls.errors import SyscallError
from syscalls.resources import BY_NAME, NAMES, OCCUPIED, Resource, ResourceName

FAMILY = "account"
KEEP_S = 1.0


@final
class Kept(Struct, frozen=True, omit_defaults=True):
    """An account in the truth. `used` is what it and its processes used, accounts with names below it left out; money
    in picos, written as text, for it may outgrow 64 bits. `models` are the sums of ModelUse, in its order.

    `limits` are those that were changed at run time, None for one taken away, `configured` what kernos.toml said then:
    where it says something else now, that counts.
    """

    used: dict[str, str] = {}
    models: dict[str, tuple[str, ...]] = {}
    configured: dict[str, int | None] = {}
    limits: dict[str, int | None] = {}


@final
class Riding:
    """Rows that go along with somebody's commit."""

    def __init__(self, rows: Sequence[tuple[str, str, bytes]], changed: set[str]) -> None:
        self._rows = rows
        self._changed = changed
        self._names = [name for _, name, _ in rows]

    def write(self, db: apsw.Connection) -> None:
        """Inside the transaction."""
        db.executemany("REPLACE INTO facts VALUES (?, ?, ?)", self._rows)

    def missed(self) -> None:
        """The transaction failed: they go with the next."""
        self._changed.update(self._names)


@final
class Ledger:
    """Opens named accounts; keeps what they used. `boot` before anybody comes, `run` in the background, always."""

    def __init__(self, *, config: Config, truth: Truth, accounts: Accounts, trace: Trace) -> None:
        self._config = config
        self._truth = truth
        self._accounts = accounts
        self._trace = trace
        self._kept: dict[str, Kept] = {}
        self._named: dict[str, Account] = {}
        self._changed: set[str] = set()
        self._news = trio.Event()
        self.root = self._open(None, ROOT_ACCOUNT)
        self._named[accounts.overhead.name] = accounts.overhead
        accounts.on_use = self._note
        accounts.price_of = self.price
        truth.rider = self.aboard

    async def boot(self) -> None:
        """Reads what was used in earlier lives, and opens the accounts of kernos.toml. Raises IOFailed (EIO)."""
        facts = await self._truth.facts(FAMILY)
        self._kept = {name: msgspec.msgpack.decode(body, type=Kept) for name, body in facts}
        for account in tuple(self._named.values()):
            self._restore(account)
        for name in self._config.accounts:
            self.account(name)

    async def run(self) -> None:
        """Writes what nobody's commit has taken along, a moment after it was used; for ever."""
        while True:
            await self._news.wait()
            await trio.sleep(KEEP_S)
            self._news = trio.Event()
            try:
                await self.keep()
            except SyscallError as failed:  # the disk is full: it goes with a later commit
                self._trace.event("ledger_failed", error=failed)

    async def keep(self) -> None:
        """Makes durable what was charged; costs nothing where a commit has taken it along. Raises IOFailed (EIO)."""
        if self._changed:
            await self._truth.commit(_nothing)

    async def close(self) -> None:
        """The last commit: of every account."""
        self._changed.update(self._named)
        await self.keep()

    def aboard(self) -> Riding | None:
        """For the truth: what has changed since the last commit."""
        if not self._changed:
            return None
        names = sorted(self._changed)
        self._changed.clear()
        rows = [(FAMILY, name, msgspec.msgpack.encode(self._row(self._named[name]))) for name in names]
        return Riding(rows, self._changed)

    # Accounts.

    def account(self, name: str) -> Account:
        """The account of a principal, or one of kernos.toml; opened if it is not there yet."""
        found = self._named.get(name)
        if found is None:
            found = self._open(self.account(self._configured(name).parent), name)
            self._restore(found)
        return found

    def find(self, name: str) -> Account | None:
        """A named account, if it is open."""
        return self._named.get(name)

    def named(self) -> Iterator[Account]:
        """All of them, parents first."""
        return iter(self._named.values())

    def limit(self, account: Account, resource: Resource, limit: int | None) -> None:
        """As Accounts.limit; that of a named account is kept. The caller makes it durable (`keep`)."""
        self._accounts.limit(account, resource, limit)
        self._changes(account)

    def transfer(self, source: Account, target: Account, amounts: Amounts) -> None:
        """As Accounts.transfer; between named accounts it is kept. The caller makes it durable (`keep`)."""
        self._accounts.transfer(source, target, amounts)
        self._changes(source)
        self._changes(target)

    def price(self, model: str) -> Price:
        """The price of a model, by its name, or by name and version."""
        prices = self._config.prices
        return prices.get(model) or prices.get(model.partition("@")[0]) or FREE

    # Within.

    def _open(self, parent: Account | None, name: str) -> Account:
        wanted = self._configured(name).limits()
        account = self._accounts.open(
            parent,
            name=name,
            principal=name,
            limits={BY_NAME[each]: in_units(BY_NAME[each], limit) for each, limit in wanted.items()},
        )
        self._named[name] = account
        return account

    def _configured(self, name: str) -> AccountConfig:
        return self._config.accounts.get(name, AccountConfig())

    def _restore(self, account: Account) -> None:
        kept = self._kept.get(account.name)
        if kept is None:
            return
        used = {BY_NAME[each]: int(amount) for each, amount in kept.used.items() if each in BY_NAME}
        self._accounts.restore(account, used)
        account.models = {model: ModelUse.of(sums) for model, sums in kept.models.items()} or None
        configured: dict[ResourceName, int] = self._configured(account.name).limits()
        for each, limit in kept.limits.items():
            if each in BY_NAME and kept.configured.get(each) == configured.get(NAMES[BY_NAME[each]]):
                resource = BY_NAME[each]
                self._accounts.limit(account, resource, None if limit is None else in_units(resource, limit))

    def _row(self, account: Account) -> Kept:
        below = [each for each in account.below() if self._named.get(each.name) is each]
        used: dict[str, str] = {}
        for resource in Resource:
            if resource in OCCUPIED:
                continue
            amount = account.own[resource]
            if resource is not Resource.CALLS:
                amount = account.used[resource] - sum(each.used[resource] for each in below)
            if amount:
                used[NAMES[resource]] = str(amount)
        configured = self._configured(account.name).limits()
        now = {NAMES[each]: out_of_units(each, limit) for each, limit in account.limits.items()}
        changed = [name for name in NAMES if now.get(name) != configured.get(name)]
        return Kept(
            used=used,
            models={model: use.sums() for model, use in (account.models or {}).items()},
            configured={name: configured.get(name) for name in changed},
            limits={name: now.get(name) for name in changed},
        )

    def _note(self, account: Account) -> None:
        """Something was charged to it: those above it that have names have changed."""
        for each in account.chain():
            self._changes(each)

    def _changes(self, account: Account) -> None:
        if self._named.get(account.name) is account:
            self._changed.add(account.name)
            self._news.set()


def in_units(resource: Resource, amount: int) -> int:
    """An amount of the ABI as accounts count it: money in picos."""
    return amount * PICOS if resource is Resource.MONEY else amount


def out_of_units(resource: Resource, amount: int) -> int:
    """A limit of an account as the ABI has it."""
    return amount // PICOS if resource is Resource.MONEY else amount


def _nothing(db: apsw.Connection) -> None:
    """A commit only of what rides in it."""

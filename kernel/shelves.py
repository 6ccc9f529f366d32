"""The bytes that programs keep in collections of the store, on the accounts of who put them there.

The store counts (`store.size`), the kernel charges: what an add will bring is charged before anything is stored, what a
delete took is given back after it, and one comes after another in each collection. Where it is not known what became of
one (a host died under it, the call was cancelled, the kernel is new, the store came back with less), the collection is
in doubt and is measured as a whole: what it has lost is given back, what it has besides is its principal's.

The truth keeps whose each collection is, and its bytes as of the last change. Collections that the kernel keeps of
pages are not counted here: a page was charged when it was written.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, final

import msgspec
import trio
from msgspec import Struct

from kernel.accounts.account import Accounts
from kernel.accounts.account_record import Account
from kernel.hosts.ports import Devices
from kernel.ledger import Ledger
from kernel.truth import Truth
from kernel.watch.trace import Trace
from syscalls.errors import Invalid, SyscallError
from syscalls.resources import Resource

FAMILY: Final = "collection"
RETRY_S: Final = 30.0


@final
class _Kept(Struct, frozen=True):
    """A collection in the truth."""

    principal: str
    bytes: int


@final
class _Shelf:
    """One collection. `shares` are the accounts on which its bytes are; one at a time changes it, under `lock`."""

    def __init__(self, name: str, principal: str) -> None:
        self.name = name
        self.principal = principal
        self.shares: dict[Account, int] = {}
        self.lock = trio.Lock()
        self.doubtful = True

    @property
    def bytes(self) -> int:
        return sum(self.shares.values())

    def put(self, account: Account, amount: int) -> None:
        """`amount` more on `account`. Shares of accounts that are gone are by now their heirs'."""
        shares: dict[Account, int] = {}
        for each, part in (*self.shares.items(), (account, amount)):
            heir = each.living()
            shares[heir] = shares.get(heir, 0) + part
        self.shares = shares

    def take(self, account: Account, amount: int) -> dict[Account, int]:
        """Who has how much less, `account` first; never more than there is."""
        self.put(account, 0)
        first = account.living()
        taken: dict[Account, int] = {}
        for each in (first, *(other for other in self.shares if other is not first)):
            part = min(amount, self.shares[each])
            amount -= part
            self.shares[each] -= part
            taken[each] = part
        self.shares = {each: part for each, part in self.shares.items() if part}
        return taken


@final
class Shelves:
    """All collections of programs. `boot` before anybody comes, `run` in the background, always."""

    def __init__(self, *, accounts: Accounts, ledger: Ledger, truth: Truth, devices: Devices, trace: Trace) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._truth = truth
        self._devices = devices
        self._trace = trace
        self._shelves: dict[str, _Shelf] = {}
        self._doubt = trio.Event()
        devices.on_store_reset(self._reset)

    async def boot(self) -> None:
        """Charges what was kept in earlier lives. Raises IOFailed (EIO)."""
        for name, body in await self._truth.facts(FAMILY):
            kept = msgspec.msgpack.decode(body, type=_Kept)
            shelf = self._shelves[name] = _Shelf(name, kept.principal)
            self._found(shelf, kept.bytes)
        self._doubt.set()

    async def run(self) -> None:
        """Measures what is in doubt; for ever."""
        while True:
            await self._doubt.wait()
            self._doubt = trio.Event()
            for shelf in [each for each in self._shelves.values() if each.doubtful]:
                try:
                    async with self._alone(shelf.name, shelf.principal):
                        pass
                except SyscallError as away:
                    self._trace.event("collection_unmeasured", collection=shelf.name, error=away)
                    self._doubt.set()
            if self._doubt.is_set():
                await trio.sleep(RETRY_S)

    async def add(self, name: str, principal: str, account: Account, ids: tuple[str, ...], vectors: bytes) -> None:
        """Inserts or replaces rows, charged to `account`. Raises OverQuota (EQUOTA) before anything is stored."""
        async with self._alone(name, principal) as shelf:
            store = self._devices.store()
            row, rest = divmod(len(vectors), len(ids))
            if rest:
                raise Invalid(
                    f"{len(vectors)} bytes of vectors for {len(ids)} ids: send as many float32 vectors as ids"
                )
            coming = sum(len(each.encode()) + row for each in set(ids))
            growth = max(0, coming - await store.size(name, ids))
            self._accounts.store(account, growth)
            shelf.put(account, growth)
            try:
                if growth:
                    await self._keep(shelf)  # before: what a crash leaves in the truth is never too little
                await store.add(name, ids, vectors)
            except Invalid:
                self._give_back(shelf, account, growth)
                raise
            except BaseException:
                self._doubts(shelf)
                raise

    async def delete(self, name: str, principal: str, account: Account, ids: tuple[str, ...] | None) -> None:
        """Deletes rows, or all; their bytes are given back, to `account` as far as they were its own."""
        async with self._alone(name, principal) as shelf:
            store = self._devices.store()
            there = await store.size(name, ids)
            try:
                await store.delete(name, ids)
            except BaseException:
                self._doubts(shelf)
                raise
            self._give_back(shelf, account, there)
            await self._keep(shelf)

    @asynccontextmanager
    async def _alone(self, name: str, principal: str) -> AsyncIterator[_Shelf]:
        """The collection, measured, while nobody else changes it."""
        shelf = self._shelves.setdefault(name, _Shelf(name, principal))
        async with shelf.lock:
            try:
                if shelf.doubtful:
                    await self._measure(shelf)
                yield shelf
            finally:
                if not shelf.bytes and not shelf.doubtful and not shelf.lock.statistics().tasks_waiting:
                    self._shelves.pop(name, None)

    async def _measure(self, shelf: _Shelf) -> None:
        shelf.doubtful = False  # set again by a store that is lost meanwhile
        try:
            surplus = await self._devices.store().size(shelf.name, None) - shelf.bytes
        except BaseException:
            shelf.doubtful = True
            raise
        if surplus > 0:
            self._found(shelf, surplus)
        elif surplus:
            self._give_back(shelf, self._ledger.account(shelf.principal), -surplus)
        if surplus:
            await self._keep(shelf)

    def _found(self, shelf: _Shelf, amount: int) -> None:
        """Bytes of which it is not known who put them there: no limit keeps them out, they are there."""
        account = self._ledger.account(shelf.principal)
        self._accounts.restore(account, {Resource.BYTES: amount})
        shelf.put(account, amount)

    def _give_back(self, shelf: _Shelf, account: Account, amount: int) -> None:
        for each, part in shelf.take(account, amount).items():
            self._accounts.store(each, -part)

    async def _keep(self, shelf: _Shelf) -> None:
        kept = _Kept(shelf.principal, shelf.bytes)
        await self._truth.set_fact(FAMILY, shelf.name, msgspec.msgpack.encode(kept) if kept.bytes else None)

    def _doubts(self, shelf: _Shelf) -> None:
        shelf.doubtful = True
        self._doubt.set()

    def _reset(self) -> None:
        """The store has come back, and may hold less."""
        for shelf in self._shelves.values():
            shelf.doubtful = True
        self._doubt.set()

"""The indexer: gives pages their vectors, behind the write and out of the way, and keeps the store equal to the truth.

The store follows; it may lose anything at any moment. After each of its restarts its ids are compared with the pages of
the truth, what is missing is embedded again and what is too much is deleted. One collection per principal and embedding
model. What the kernel embeds on its own account is charged to `kernel:overhead`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import final

import trio

from kernel.accounts.account import Accounts
from kernel.clock import Clock
from kernel.hosts.ports import Devices
from kernel.mm.library import Library
from kernel.mm.page import slices_of
from kernel.mm.records import all_pages
from kernel.truth import Truth
from kernel.watch.trace import Trace
from syscalls.errors import NotFound, SyscallError

BATCH_PAGES = 16
"""What is embedded at once: some tenths of a second, since a recall may have to wait for it."""
GONE_PAGES = 1024
"""What is deleted at once."""
FRESH_PAGES_MAX = 512
RETRY_FIRST_S = 0.5
RETRY_LAST_S = 30.0

Vectors = tuple[bytes, ...]


def vector_ids(address: str, slices: int) -> tuple[str, ...]:
    """The ids of a page's vectors in the store."""
    return tuple(f"{address}.{n}" for n in range(slices))


def address_of(vector_id: str) -> str:
    """The page that a vector in the store stands for."""
    return vector_id.partition(".")[0]


@final
class Shelf:
    """The vectors of one principal: which pages are in the store, which have to go there or away, and the newest."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.done: set[str] = set()
        self.pending: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self.fresh: dict[str, Vectors] = {}
        self.placing = trio.Lock()

    def keep(self, address: str, vectors: Vectors) -> None:
        """Remembers vectors that were made a moment ago, bounded."""
        self.fresh[address] = vectors
        while len(self.fresh) > FRESH_PAGES_MAX:
            del self.fresh[next(iter(self.fresh))]


@final
class Indexer:
    """One task, `run`, does the work; everything else only notes what is to be done."""

    def __init__(
        self, *, truth: Truth, library: Library, devices: Devices, accounts: Accounts, clock: Clock, trace: Trace
    ) -> None:
        self._truth = truth
        self._library = library
        self._devices = devices
        self._accounts = accounts
        self._clock = clock
        self._trace = trace
        self._shelves: dict[str, Shelf] = {}
        self._compare_due = True
        self._news = trio.Event()
        self._idle = trio.Event()
        devices.on_store_reset(self._reset)

    def shelf(self, principal: str) -> Shelf:
        """What is known of the vectors of `principal`."""
        if principal not in self._shelves:
            name = f"{principal}\0{self._devices.embedding().name}"
            self._shelves[principal] = Shelf("p-" + hashlib.sha256(name.encode()).hexdigest()[:40])
        return self._shelves[principal]

    def note(self, principal: str, pages: Mapping[str, int]) -> None:
        """Pages (address, number of vectors) were written."""
        shelf = self._shelves.get(principal)
        if shelf is None:
            try:
                shelf = self.shelf(principal)
            except SyscallError:
                return  # no embedding device: the comparison at its coming finds them
        for address, slices in pages.items():
            if address not in shelf.done:
                shelf.pending[address] = slices
        self._tell()

    def forget(self, principal: str, pages: Mapping[str, int]) -> None:
        """Pages (address, number of vectors) were dropped."""
        shelf = self._shelves.get(principal)
        if shelf is not None and pages:
            shelf.gone.update(pages)
            self._tell()

    def indexed(self, principal: str, addresses: Iterable[str]) -> int:
        """How many of `addresses`, each of which is there once, are in the store."""
        shelf = self._shelves.get(principal)
        return len(shelf.done.intersection(addresses)) if shelf else 0

    async def vectors(self, principal: str, addresses: Iterable[str]) -> dict[str, Vectors]:
        """Vectors of those pages that the store may not find yet: what is new is embedded, and stored, then and there.

        Raises the embedding device's SyscallError; a store that is away is the indexer's affair.
        """
        shelf = self.shelf(principal)
        wanted = tuple(addresses)
        missing = [each for each in wanted if each not in shelf.done and each not in shelf.fresh]
        found = {each: shelf.fresh[each] for each in wanted if each in shelf.fresh}
        for at in range(0, len(missing), BATCH_PAGES):
            vectors, _ = await self._place(principal, shelf, missing[at : at + BATCH_PAGES])
            found.update(vectors)
        return found

    async def run(self) -> None:
        """Indexes for ever; hosts that are away are asked again."""
        retry_s = RETRY_FIRST_S
        while True:
            try:
                await self._compare()
                worked = await self._work()
                retry_s = RETRY_FIRST_S
            except SyscallError as failed:
                if retry_s == RETRY_FIRST_S:
                    self._trace.event("index_waits", error=str(failed))
                await self._clock.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_LAST_S)
                continue
            if not worked and not self._compare_due:
                self._idle.set()
                await self._news.wait()
                self._news = trio.Event()

    async def settled(self) -> None:
        """Waits until everything that was noted is in the store."""
        await self._idle.wait()

    def _tell(self) -> None:
        self._news.set()
        if self._idle.is_set():
            self._idle = trio.Event()

    def _reset(self) -> None:
        self._compare_due = True
        self._tell()

    async def _compare(self) -> None:
        """Brings the notes up to what the store really holds."""
        if not self._compare_due:
            return
        self._compare_due = False
        try:
            pages = await self._truth.read(all_pages)
            for principal in {*pages, *self._shelves}:
                await self._compare_one(self.shelf(principal), pages.get(principal, {}))
        except BaseException:
            self._compare_due = True
            raise

    async def _compare_one(self, shelf: Shelf, pages: dict[str, int]) -> None:
        try:
            there = set(await self._devices.store().ids(shelf.collection))
        except NotFound:
            there = set()
        for address, slices in pages.items():
            if there.issuperset(vector_ids(address, slices)):
                shelf.done.add(address)
                shelf.pending.pop(address, None)
            else:
                shelf.done.discard(address)
                shelf.pending[address] = slices
        known = pages.keys() | shelf.done | shelf.pending.keys()
        strays = tuple(sorted(each for each in there if address_of(each) not in known))
        if strays:
            await self._devices.store().delete(shelf.collection, strays)

    async def _work(self) -> bool:
        """One batch for each principal that has something to do; whether there was any."""
        worked = False
        for principal, shelf in tuple(self._shelves.items()):
            if shelf.gone:
                await self._delete(principal, shelf)
                worked = True
            if shelf.pending:
                await self._add(principal, shelf)
                worked = True
        return worked

    async def _add(self, principal: str, shelf: Shelf) -> None:
        batch = list(islice(shelf.pending, BATCH_PAGES))
        vectors, failed = await self._place(principal, shelf, batch)
        if failed is not None:
            raise failed
        for address in batch:
            if address not in vectors:
                shelf.pending.pop(address, None)  # gone by now

    async def _place(
        self, principal: str, shelf: Shelf, addresses: list[str]
    ) -> tuple[dict[str, Vectors], SyscallError | None]:
        """Embeds pages and stores their vectors; one batch of a principal at a time, so that none is made twice.
        Returns the vectors, and what the store said if it did not take them."""
        async with shelf.placing:
            vectors = {each: shelf.fresh[each] for each in addresses if each in shelf.fresh}
            missing = [each for each in addresses if each not in vectors]
            if missing:
                vectors.update(await self._embed(principal, missing))
            new = {each: made for each, made in vectors.items() if each not in shelf.done}
            ids = tuple(each for address, made in new.items() for each in vector_ids(address, len(made)))
            try:
                if ids:
                    data = b"".join(vector for made in new.values() for vector in made)
                    await self._devices.store().add(shelf.collection, ids, data)
            except SyscallError as failed:
                return vectors, failed
            for address in new:
                shelf.pending.pop(address, None)
                shelf.done.add(address)
            return vectors, None

    async def _delete(self, principal: str, shelf: Shelf) -> None:
        """Deletes what is in no context any more, the first of it; a page that was written again meanwhile stays. What
        is being placed is placed first, and goes with the rest."""
        async with shelf.placing:
            gone = dict(islice(shelf.gone.items(), GONE_PAGES))
            for address in gone:
                shelf.pending.pop(address, None)
            there = await self._library.present(principal, tuple(gone))
            ids = tuple(each for address, n in gone.items() if address not in there for each in vector_ids(address, n))
            if ids:
                await self._devices.store().delete(shelf.collection, ids)
            for address, slices in gone.items():
                shelf.gone.pop(address, None)
                if address not in there:
                    shelf.done.discard(address)
                    shelf.fresh.pop(address, None)
                elif address not in shelf.done:
                    shelf.pending[address] = slices

    async def _embed(self, principal: str, addresses: list[str]) -> dict[str, Vectors]:
        """Vectors for pages; those that are gone by now are left out."""
        pages = await self._library.pages(principal, addresses)
        texts = {address: slices_of(turns) for address, turns in pages.items()}
        flat = tuple(text for slices in texts.values() for text in slices)
        vectors: list[bytes] = []
        if flat:
            embedded = await self._devices.embedding().embed(flat)
            name = self._devices.embedding().name
            self._accounts.charge(self._accounts.overhead, self._accounts.cost(name, embedded.tokens), model=name)
            size = 4 * embedded.dimensions
            vectors = [embedded.vectors[at : at + size] for at in range(0, len(embedded.vectors), size)]
        made: dict[str, Vectors] = {}
        shelf = self.shelf(principal)
        for address, slices in texts.items():
            made[address], vectors = tuple(vectors[: len(slices)]), vectors[len(slices) :]
            shelf.keep(address, made[address])
        return made

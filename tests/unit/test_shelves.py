"""What programs keep in collections of the store is on their accounts, to the byte, whatever becomes of the store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kernel.accounts.account_record import Account
from kernel.shelves import FAMILY, RETRY_S, Shelves
from kernos import Sys, program
from kernos.testing import up
from syscalls.calls.process import Budget
from syscalls.errors import IOFailed, OverQuota
from syscalls.resources import Resource
from tests.devices import Bench

BYTES = Resource.BYTES
ROW = 8
"""Bytes of a vector."""


@program
async def adds(sys: Sys, ids: list[str]) -> list[str] | str:
    async with await sys.collection("mine") as mine:
        try:
            await mine.add_vectors(ids, [[1.0, float(n)] for n in range(len(ids))])
        except OverQuota:
            return f"over: {await mine.ids()}"
        return await mine.ids()


@program
async def adds_and_stays(sys: Sys, ids: list[str]) -> None:
    async with await sys.collection("mine") as mine:
        await mine.add_vectors(ids, [[1.0, 2.0]] * len(ids))
    await sys.receive()


async def test_what_is_added_is_counted_to_the_byte(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        account = machine.machine.processes.get(machine.sys.pid).account
        async with await machine.sys.collection("mine") as mine:
            await mine.add_vectors(["a", "bb"], [[1.0, 2.0], [3.0, 4.0]])
            assert account.used[BYTES] == 3 + 2 * ROW
            await mine.add_vectors(["bb", "ä", "ä"], [[1.0, 2.0]] * 3)
            assert account.used[BYTES] == 5 + 3 * ROW
            await mine.delete("a", "nobody")
            assert account.used[BYTES] == 4 + 2 * ROW
            with pytest.raises(ValueError, match="vectors of 2 numbers"):
                await mine.add_vectors(["c"], [[1.0, 2.0, 3.0]])
            assert account.used[BYTES] == 4 + 2 * ROW
            await mine.clear()
            assert account.used[BYTES] == 0


async def test_a_limit_holds_before_anything_is_stored(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        budget = Budget(bytes_stored=2 * (ROW + 1))
        assert await machine.run(adds, ["a", "b"], budget=budget) == ["a", "b"]
        assert await machine.run(adds, ["a", "b", "c"], budget=budget) == ["a", "b", "c"], "only c is new"
        assert await machine.run(adds, ["d", "e", "f"], budget=budget) == "over: ['a', 'b', 'c']"


async def test_what_is_left_is_the_parents_and_who_deletes_gives_back_everybodys(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with up() as machine:
        top = machine.machine.processes.get(machine.sys.pid).account
        await machine.run(adds, ["a", "b"])
        stays = await machine.spawn(adds_and_stays, ["c", "b"])
        await trio.testing.wait_all_tasks_blocked()
        theirs = machine.machine.processes.get(stays.pid).account
        assert (top.own[BYTES], theirs.own[BYTES], top.used[BYTES]) == (2 * ROW + 2, ROW + 1, 3 * ROW + 3)
        async with await machine.sys.collection("mine") as mine:
            await mine.clear()
        assert (top.own[BYTES], theirs.own[BYTES], top.used[BYTES]) == (0, 0, 0)


async def test_a_store_that_forgets_costs_nothing_any_more(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        account = machine.machine.processes.get(machine.sys.pid).account
        async with await machine.sys.collection("mine") as mine:
            await mine.add_vectors(["a"], [[1.0, 2.0]])
            assert account.used[BYTES] == ROW + 1
            for host in machine.hosts.running:
                host.scope.cancel()
            await trio.sleep(60)
            assert await mine.ids() == []
            assert account.used[BYTES] == 0


@asynccontextmanager
async def shelves_of(bench: Bench) -> AsyncIterator[Shelves]:
    shelves = Shelves(
        accounts=bench.accounts, ledger=bench.ledger, truth=bench.truth, devices=bench.devices, trace=bench.trace
    )
    await shelves.boot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shelves.run)
        yield shelves
        nursery.cancel_scope.cancel()


def add_of(ids: str) -> tuple[tuple[str, ...], bytes]:
    return tuple(ids), bytes(ROW) * len(ids)


def occupied(bench: Bench) -> int:
    return sum(account.own[BYTES] for account in bench.accounts.all())


def there(bench: Bench) -> int:
    return sum(len(each.encode()) + ROW for rows in bench.devices.dict.rows.values() for each in rows)


async def test_a_new_kernel_charges_what_is_there(autojump_clock: trio.testing.MockClock) -> None:
    first = Bench()
    ann = first.ledger.account("ann")
    async with shelves_of(first) as shelves:
        await shelves.add("u-1", "ann", ann, *add_of("ab"))
        await shelves.add("u-2", "bob", first.ledger.account("bob"), *add_of("c"))
    second = Bench(truth=first.truth)
    second.devices.dict.rows = {"u-1": {"a": bytes(ROW), "z": bytes(ROW), "y": bytes(ROW)}}
    async with shelves_of(second):
        assert second.ledger.account("ann").used[BYTES] == 2 * (ROW + 1), "as it was kept, before anybody has looked"
        await trio.sleep(1)
        assert second.ledger.account("ann").used[BYTES] == 3 * (ROW + 1)
        assert second.ledger.account("bob").used[BYTES] == 0
    assert [name for name, _ in await second.truth.facts(FAMILY)] == ["u-1"]


async def test_a_store_that_is_away_is_measured_when_it_is_back(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench()
    ann = bench.ledger.account("ann")
    async with shelves_of(bench) as shelves:
        await shelves.add("u-1", "ann", ann, *add_of("a"))
        bench.devices.dict.away = IOFailed("away")
        with pytest.raises(IOFailed):
            await shelves.add("u-1", "ann", ann, *add_of("b"))
        bench.devices.dict.lose()
        await trio.sleep(1)
        assert ann.used[BYTES] == ROW + 1, "nobody knows better yet"
        bench.devices.dict.away = None
        await trio.sleep(2 * RETRY_S)
        assert ann.used[BYTES] == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "add", "delete", "clear", "lost add", "lost delete", "half", "forget", "end", "cancel"]
        ),
        st.sampled_from(["u-1", "u-2"]),
        st.integers(0, 2),
        st.sets(st.sampled_from("abcdä"), min_size=1).map(lambda ids: "".join(sorted(ids))),
    ),
    max_size=12,
)


@given(steps=STEPS)
def test_the_books_are_what_the_store_holds(steps: list[tuple[str, str, int, str]]) -> None:
    """Adds and deletes whose answers are lost, done or not, stores that forget, processes that end."""
    trio.run(_books, steps, clock=trio.testing.MockClock(autojump_threshold=0))


async def _books(steps: list[tuple[str, str, int, str]]) -> None:
    bench = Bench()
    top = bench.ledger.account("ann")
    accounts = [_opened(bench, top) for _ in range(3)]
    store = bench.devices.dict
    async with shelves_of(bench) as shelves:
        for what, name, who, ids in steps:
            account = accounts[who]
            match what:
                case "add":
                    await shelves.add(name, "ann", account, *add_of(ids))
                case "delete" | "clear":
                    await shelves.delete(name, "ann", account, tuple(ids) if what == "delete" else None)
                case "lost add" | "lost delete" | "half" | "cancel":
                    with trio.move_on_after(0 if what == "cancel" else 1000):
                        await _lossy(bench, shelves, what, name, account, ids)
                case "forget":
                    store.lose()
                case "end":
                    bench.accounts.close(account)
                    accounts[who] = _opened(bench, top)
            if what in ("add", "delete", "clear"):
                bench.accounts.check()
        await trio.sleep(2 * RETRY_S)
        assert occupied(bench) == there(bench)
        bench.accounts.check()


async def _lossy(bench: Bench, shelves: Shelves, what: str, name: str, account: Account, ids: str) -> None:
    """An operation that is done in the store, wholly, by half or not at all, and answered with EIO."""
    store = bench.devices.dict
    was_add, was_delete = store.add, store.delete

    async def add(collection: str, ids: tuple[str, ...], vectors: bytes) -> None:
        if what != "cancel":
            await was_add(collection, ids[:1] if what == "half" else ids, vectors[:ROW] if what == "half" else vectors)
        raise IOFailed("lost")

    async def delete(collection: str, ids: tuple[str, ...] | None) -> None:
        await was_delete(collection, ids)
        raise IOFailed("lost")

    store.add, store.delete = add, delete  # type: ignore[method-assign]
    try:
        if what == "lost delete":
            await shelves.delete(name, "ann", account, tuple(ids))
        else:
            await shelves.add(name, "ann", account, *add_of(ids))
    except IOFailed:
        pass
    finally:
        store.add, store.delete = was_add, was_delete  # type: ignore[method-assign]


def _opened(bench: Bench, top: Account) -> Account:
    return bench.accounts.open(top, name="one", principal="ann")

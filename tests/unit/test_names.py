"""Named contexts: saved, renamed, listed, forgotten; a page goes with the last context that has it and not before."""

from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.config import TINY_BOUNDS, Bounds
from kernel.process import Process
from kernel.seal import Seals
from kernel.sys.context import (
    context_append,
    context_close,
    context_forget,
    context_list,
    context_open,
    context_read,
    context_save,
)
from kernel.truth import FILE, Truth
from kernos.testing import up
from syscalls.calls.context import (
    Append,
    Close,
    Contexts,
    Forget,
    ListContexts,
    NamedContext,
    Open,
    Read,
    Save,
)
from syscalls.errors import Busy, Invalid, NotFound
from syscalls.resources import Resource
from syscalls.turns import Turn, system, user
from tests.devices import Bench

BOUNDS = Bounds(page_tokens_max=32)
LONG = tuple(user(f"{n} " + "x" * 110) for n in range(6))


async def opened(bench: Bench, process: Process, name: str | None = None) -> int:
    asked = Open(name=name, reserve_tokens=100)
    return (await context_open(bench.machine, bench.trap(process, "context.open"), asked)).context


async def append(bench: Bench, handle: int, *turns: Turn, by: Process | None = None) -> tuple[str, ...]:
    context = bench.contexts.get(handle)
    process = by or bench.process(principal=context.principal)
    await context_append(bench.machine, bench.trap(process, "context.append"), Append(context=handle, turns=turns))
    return tuple(ref.address for ref in context.refs())


def kept(bench: Bench) -> int:
    """The bytes that all accounts pay for."""
    return sum(account.own[Resource.BYTES] for account in bench.accounts.all())


async def save(bench: Bench, process: Process, handle: int, name: str) -> None:
    await context_save(bench.machine, bench.trap(process, "context.save"), Save(context=handle, name=name))


async def close(bench: Bench, process: Process, handle: int) -> None:
    await context_close(bench.machine, bench.trap(process, "context.close"), Close(context=handle))


async def forget(bench: Bench, process: Process, name: str) -> None:
    await context_forget(bench.machine, bench.trap(process, "context.forget"), Forget(name=name))


async def listed(bench: Bench, process: Process, **asked: object) -> Contexts:
    args = ListContexts(**asked)  # type: ignore[arg-type]
    return await context_list(bench.machine, bench.trap(process, "context.list"), args)


async def readable(bench: Bench, process: Process, page: str) -> bool:
    try:
        await context_read(bench.machine, bench.trap(process, "context.read"), Read(context=0, page=page))
    except NotFound:
        return False
    return True


async def turns_of(bench: Bench, process: Process, name: str) -> tuple[Turn, ...]:
    """What another kernel on the same truth opens under a name."""
    again = Bench(bounds=bench.config.bounds, truth=bench.truth, seals=bench.contexts.library._seals)
    await again.contexts.boot()
    other = again.process(principal=process.principal)
    context = again.contexts.get(await opened(again, other, name))
    pages = await again.contexts.library.pages(context.principal, [ref.address for ref in context.refs()])
    return (*(turn for ref in context.refs() for turn in pages[ref.address]), *context.tail)


async def test_a_saved_conversation_outlives_its_process(tmp_path: Path) -> None:
    bench = Bench(bounds=BOUNDS, truth=Truth.open(tmp_path / FILE), seals=Seals(tmp_path / "keys"))
    process = bench.process()
    handle = await opened(bench, process)
    await append(bench, handle, *LONG)
    await save(bench, process, handle, "notes")
    assert bench.contexts.names(handle, process) == ("context:own", f"context:{handle}", "context:notes")
    await append(bench, handle, user("after"))
    await close(bench, process, handle)
    assert await turns_of(bench, process, "notes") == (*LONG, user("after"))
    bench.truth.close()


async def test_a_saved_fork_stands_on_its_own() -> None:
    bench = Bench(bounds=BOUNDS)
    process = bench.process()
    parent = await opened(bench, process)
    await append(bench, parent, *LONG[:3])
    fork = (await bench.contexts.fork(process, parent)).context
    grandchild = (await bench.contexts.fork(process, fork)).context
    await append(bench, fork, *LONG[3:])
    await save(bench, process, fork, "fork")
    await append(bench, fork, user("after"))
    await close(bench, process, parent)
    rows = await bench.truth.read(lambda db: int(db.execute("SELECT count(*) FROM contexts").get))
    assert rows == 2  # the parent is gone with its last need
    assert len(bench.contexts.get(grandchild).refs()) == 3
    await save(bench, process, grandchild, "grandchild")
    await close(bench, process, fork)
    await close(bench, process, grandchild)
    assert await turns_of(bench, process, "fork") == (*LONG, user("after"))
    assert await turns_of(bench, process, "grandchild") == LONG[:3]


async def test_a_name_is_changed_and_the_old_one_is_free() -> None:
    bench = Bench(bounds=BOUNDS)
    process = bench.process()
    handle, other = await opened(bench, process, "old"), await opened(bench, process)
    await append(bench, handle, user("a"))
    await save(bench, process, handle, "new")
    await save(bench, process, handle, "new")
    with pytest.raises(Busy, match="another context goes by the name new: choose another name"):
        await save(bench, process, other, "new")
    await save(bench, process, other, "old")
    assert [each.name for each in (await listed(bench, process)).contexts] == ["new", "old"]
    assert bench.contexts.get(await opened(bench, process, "new")) is bench.contexts.get(handle)
    await close(bench, process, other)
    with pytest.raises(Busy, match="by the name old"):
        await save(bench, process, handle, "old")
    theirs = bench.process(principal="bob")
    await save(bench, theirs, await opened(bench, theirs), "new")


@pytest.mark.parametrize("name", ["own", "17", "", "a/b", "x" * 101])
async def test_a_name_that_is_none_is_refused(name: str) -> None:
    bench = Bench(bounds=BOUNDS)
    process = bench.process()
    with pytest.raises(Invalid, match="no name for a context"):
        await save(bench, process, await opened(bench, process), name)
    with pytest.raises(NotFound, match="no context 99"):
        await save(bench, process, 99, "fine")


async def test_contexts_are_listed_a_page_at_a_time_to_their_principal() -> None:
    bench = Bench(bounds=BOUNDS)
    process = bench.process()
    for name in ("c", "a", "b"):
        await append(bench, await opened(bench, process, name), *LONG[:2], user("open"))
    await close(bench, process, 3)
    await append(bench, await opened(bench, bench.process(principal="bob"), "theirs"), user("x"))
    await append(bench, await opened(bench, process), user("unnamed"))
    found = await listed(bench, process, limit=2)
    assert ([each.name for each in found.contexts], found.more) == (["a", "b"], True)
    first, second = found.contexts
    assert (first.model, first.version, first.turns, first.pages, first.handles) == ("bytes@1", 3, 3, 2, 1)
    assert first.bytes > 240 and second.handles == 0
    rest = await listed(bench, process, after="b")
    assert ([each.name for each in rest.contexts], rest.more) == (["c"], False)
    assert [each.name for each in (await listed(bench, process, name="b")).contexts] == ["b"]
    assert (await listed(bench, process, name="theirs")).contexts == ()
    for limit in (0, 1001):
        with pytest.raises(Invalid, match="1 to 1000"):
            await listed(bench, process, limit=limit)


async def test_what_is_forgotten_can_be_read_from_nowhere_and_nothing_else_is_lost() -> None:
    bench = Bench(bounds=BOUNDS)
    process = bench.process()
    one, two = await opened(bench, process, "one"), await opened(bench, process, "two")
    mine = await append(bench, one, *LONG[:4])
    shared = await append(bench, two, *LONG[:2])
    assert set(shared) < set(mine)
    await bench.contexts.index.vectors("ann", mine)
    with pytest.raises(Busy, match="context one is open"):
        await forget(bench, process, "one")
    await close(bench, process, one)
    await forget(bench, process, "one")
    assert [await readable(bench, process, page) for page in mine] == [True, True, False, False]
    await bench.contexts.index._work()
    (collection,) = bench.devices.dict.rows.values()
    assert {each.partition(".")[0] for each in collection} == set(shared)
    assert bench.contexts.index.shelf("ann").fresh.keys() == set(shared)
    with pytest.raises(NotFound, match="no context of ann is called one"):
        await forget(bench, process, "one")
    assert bench.contexts.get(await opened(bench, process, "one")).turns == 0


async def test_a_context_is_not_forgotten_while_a_fork_of_it_lives() -> None:
    bench = Bench(bounds=BOUNDS)
    process = bench.process()
    handle = await opened(bench, process, "notes")
    await append(bench, handle, *LONG)
    fork = (await bench.contexts.fork(process, handle)).context
    await close(bench, process, handle)
    with pytest.raises(Busy, match="0 handles and 1 forks"):
        await forget(bench, process, "notes")
    await save(bench, process, fork, "fork")
    await forget(bench, process, "notes")
    await close(bench, process, fork)
    assert await turns_of(bench, process, "fork") == LONG


async def test_bytes_are_paid_for_as_long_as_they_are_kept() -> None:
    bench = Bench(bounds=BOUNDS)
    process = bench.process()
    handle = await opened(bench, process)
    await append(bench, handle, *LONG, by=process)
    fork = (await bench.contexts.fork(process, handle)).context
    one = kept(bench)
    await save(bench, process, fork, "fork")
    assert one < kept(bench) <= 2.5 * one  # it shares no more, and pays for its pages, seals included
    await close(bench, process, handle)
    left = kept(bench)
    assert one <= left == (await listed(bench, process)).contexts[0].bytes
    await close(bench, process, fork)
    assert kept(bench) == left
    again = Bench(bounds=BOUNDS, truth=bench.truth, seals=bench.contexts.library._seals)
    await again.contexts.boot()
    assert kept(again) == left
    await forget(again, again.process(), "fork")
    assert kept(again) == 0
    again.accounts.check()


async def test_nobody_forgets_for_another_principal() -> None:
    bench = Bench(bounds=BOUNDS)
    process = bench.process()
    await close(bench, process, await opened(bench, process, "notes"))
    with pytest.raises(NotFound):
        await forget(bench, bench.process(principal="bob"), "notes")
    assert len((await listed(bench, process)).contexts) == 1


async def test_the_sdk_saves_lists_and_forgets(autojump_clock: trio.abc.Clock) -> None:
    async with up(script=["aye"]) as machine:
        sys = machine.sys
        async with await sys.open() as chat:
            page = (await chat.append(system("be brief"), user("x" * 3000))).pages[1]
            assert (await chat.pin(page)).pages == (page,)
            assert (await chat.stat()).pinned_tokens > 0
            assert page in (await chat.unpin()).pages
            assert (await chat.save("talk")).name == "talk"
        found: list[NamedContext] = [each async for each in sys.contexts]
        assert [(each.name, each.handles) for each in found] == [("talk", 0)]
        await sys.contexts.forget("talk")
        assert [each async for each in sys.contexts] == []


NAMES = ("a", "b", "c")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "append", "fork", "save", "close", "forget", "boot"]),
        st.integers(0, 5),
        st.sampled_from(NAMES),
    ),
    max_size=30,
)


@settings(max_examples=120)
@given(steps=STEPS)
def test_a_page_is_there_as_long_as_a_context_has_it_and_not_longer(steps: list[tuple[str, int, str]]) -> None:
    async def main() -> None:
        truth, seals = Truth.in_memory(), Seals(None)
        bench = Bench(bounds=TINY_BOUNDS, truth=truth, seals=seals)
        process = bench.process()
        handles: list[int] = []
        written: set[str] = set()
        for step, number, name in steps:
            handle = handles[number % len(handles)] if handles else 0
            try:
                match step:
                    case "open" if len(handles) < TINY_BOUNDS.contexts_max:
                        handles.append(await opened(bench, process, name if number % 2 else None))
                    case "append" if handle:
                        written.update(await append(bench, handle, LONG[number]))
                    case "fork" if handle and len(handles) < TINY_BOUNDS.contexts_max:
                        handles.append((await bench.contexts.fork(process, handle)).context)
                    case "save" if handle:
                        await save(bench, process, handle, name)
                    case "close" if handle:
                        handles.remove(handle)
                        await close(bench, process, handle)
                    case "forget":
                        await forget(bench, process, name)
                    case "boot":
                        bench = Bench(bounds=TINY_BOUNDS, truth=truth, seals=seals)
                        await bench.contexts.boot()
                        process, handles = bench.process(), []
            except (Busy, NotFound):
                pass
            await check(bench, process, handles, written)

    trio.run(main)


async def check(bench: Bench, process: Process, handles: list[int], written: set[str]) -> None:
    """Every page of a live or named context is readable, and none besides."""
    needed = {ref.address for handle in handles for ref in bench.contexts.get(handle).refs()}
    query = "SELECT address FROM entries JOIN contexts ON context = id WHERE name IS NOT NULL"
    needed.update(str(row[0]) for row in bench.truth.read_now(lambda db: db.execute(query).fetchall()))
    entries = set(bench.truth.read_now(lambda db: db.execute("SELECT address FROM entries").fetchall()))
    pages = set(bench.truth.read_now(lambda db: db.execute("SELECT address FROM pages").fetchall()))
    assert entries == pages
    bench.accounts.check()
    sums = bench.truth.read_now(lambda db: db.execute("SELECT coalesce(sum(bytes), 0) FROM contexts").get)
    assert kept(bench) == sums
    for page in written:
        there = await readable(bench, process, page)
        assert there or page not in needed
        assert not there or (page,) in entries

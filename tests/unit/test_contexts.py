"""Contexts: durable when append returns, byte-exact, one owner each, forks that copy nothing."""

import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.config import TINY_BOUNDS, Bounds
from kernel.mm.conversation import Context
from kernel.mm.library import PAGES_AT_ONCE
from kernel.mm.page import Ref, join
from kernel.process import Process
from kernel.seal import Seals
from kernel.sys.context import context_close, context_open, context_read, context_stat
from kernel.truth import FILE, Truth
from syscalls.calls.context import Append, Close, ContextInfo, Open, Read, Stat
from syscalls.errors import Busy, Invalid, IOFailed, NotFound, TryAgain
from syscalls.limits import TURNS_MAX
from syscalls.turns import ToolCall, Turn, assistant, canonical, parse_turns, system, tool, user
from tests.devices import Bench, ByteModel
from tests.turns import counted


async def opened(bench: Bench, process: Process, name: str | None = None, model: str | None = None) -> int:
    answer = await context_open(
        bench.machine, bench.trap(process, "context.open"), Open(name=name, model=model, reserve_tokens=100)
    )
    return answer.context


async def append(bench: Bench, handle: int, *turns: Turn, resident: bool = True, expect: int | None = None) -> int:
    binder = bench.contexts.binder
    asked = Append(context=handle, turns=turns, resident=resident, expect_version=expect)
    return (await binder.append(bench.contexts.get(handle), asked)).version


def stat(bench: Bench, process: Process, handle: int) -> ContextInfo:
    return context_stat(bench.machine, bench.trap(process, "context.stat"), Stat(context=handle))


async def close(bench: Bench, process: Process, handle: int) -> None:
    await context_close(bench.machine, bench.trap(process, "context.close"), Close(context=handle))


async def conversation(bench: Bench, handle: int) -> list[Turn]:
    """All turns, read back from the truth."""
    context = bench.contexts.get(handle)
    turns: list[Turn] = []
    chain: list[Turn] = []
    for ref in context.refs():
        page = parse_turns(await bench.contexts.library.body(context.principal, ref.address))
        if ref.parts == 1:
            turns.extend(page)
            continue
        chain.extend(page)
        if ref.part == ref.parts:
            turns.append(join(chain))
            chain = []
    return [*turns, *context.tail]


TURNS = [
    system("be brief"),
    user("first question " + "x" * 150),
    assistant("thinking", ToolCall("f", {"a": 1})),
    tool("result " + "y" * 200),
    assistant("answer"),
    user("second question"),
]


async def test_a_named_context_is_found_again_by_another_kernel(tmp_path: Path) -> None:
    truth, seals = Truth.open(tmp_path / FILE), Seals(tmp_path / "keys")
    bench = Bench(bounds=TINY_BOUNDS, truth=truth, seals=seals)
    handle = await opened(bench, bench.process(), "notes")
    assert await append(bench, handle, *TURNS) == len(TURNS)
    truth.close()

    again = Truth.open(tmp_path / FILE)
    bench = Bench(bounds=TINY_BOUNDS, truth=again, seals=Seals(tmp_path / "keys"))
    await bench.contexts.boot()
    process = bench.process()
    handle = await opened(bench, process, "notes")
    assert await conversation(bench, handle) == TURNS
    assert bench.contexts.get(handle).window.turns()[-1] == TURNS[-1]
    assert stat(bench, process, handle).turns == len(TURNS)
    assert await append(bench, handle, user("third")) == len(TURNS) + 1
    assert await conversation(bench, handle) == [*TURNS, user("third")]
    again.close()


async def test_no_plaintext_is_in_the_state_folder(tmp_path: Path) -> None:
    marker = "SECRETMARKER"
    truth = Truth.open(tmp_path / FILE)
    bench = Bench(truth=truth, seals=Seals(tmp_path / "keys"))
    process = bench.process()
    handle = await opened(bench, process, "notes")
    await append(bench, handle, user(marker), assistant(f"{marker} " * 500))
    await append(bench, handle, user(f"{marker} document", source=marker), resident=False)
    await bench.contexts.fork(process, handle)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) >= 3
    assert sum(file.stat().st_size for file in files) > len(marker) * 500
    for file in files:
        assert marker.encode() not in file.read_bytes(), file
    truth.close()


async def test_a_lost_key_is_an_error_that_names_it(tmp_path: Path) -> None:
    truth = Truth.open(tmp_path / FILE)
    bench = Bench(truth=truth, seals=Seals(tmp_path / "keys"))
    await append(bench, await opened(bench, bench.process(), "notes"), user("a"))
    (tmp_path / "keys" / "ann.key").unlink()
    again = Bench(truth=truth, seals=Seals(tmp_path / "keys"))
    await again.contexts.boot()
    with pytest.raises(IOFailed, match=r"does not open with .*ann\.key: put the key back"):
        await opened(again, again.process(), "notes")
    await opened(again, again.process(), "others")
    truth.close()


async def test_a_page_is_read_back_byte_for_byte_and_by_its_principal_only() -> None:
    bench = Bench(bounds=TINY_BOUNDS)
    ann, bob = bench.process(), bench.process(principal="bob")
    handle = await opened(bench, ann)
    await append(bench, handle, *TURNS, resident=False)
    refs = bench.contexts.get(handle).refs()
    assert len(refs) > len(TURNS)
    for ref in refs:
        body = await context_read(bench.machine, bench.trap(ann, "context.read"), Read(context=0, page=ref.address))
        assert canonical(body.turns) == body.body
        with pytest.raises(NotFound, match="never written by bob"):
            await context_read(bench.machine, bench.trap(bob, "context.read"), Read(context=0, page=ref.address))
    other = await opened(bench, ann)
    with pytest.raises(NotFound, match=f"in context {other}"):
        await context_read(bench.machine, bench.trap(ann, "context.read"), Read(context=other, page=refs[0].address))


async def test_a_context_goes_by_its_names_for_its_owner_and_by_its_number_for_others() -> None:
    bench = Bench()
    ann, bob = bench.process(), bench.process(principal="bob")
    handle = await opened(bench, ann, "notes")
    assert bench.contexts.names(handle, ann) == ("context:own", f"context:{handle}", "context:notes")
    assert bench.contexts.names(handle, bob) == (f"context:{handle}",)
    with pytest.raises(NotFound, match="no context 77"):
        bench.contexts.names(77, ann)


@pytest.mark.parametrize("name", ["own", "17", "", "a/b", "*", "x" * 101, "a b"])
async def test_a_name_that_could_stand_for_something_else_is_refused(name: str) -> None:
    bench = Bench()
    with pytest.raises(Invalid, match="no name for a context"):
        await opened(bench, bench.process(), name)


async def test_the_same_name_of_two_principals_is_two_conversations() -> None:
    bench = Bench()
    mine = await opened(bench, bench.process(), "notes")
    theirs = await opened(bench, bench.process(principal="bob"), "notes")
    await append(bench, mine, user("mine"))
    assert await conversation(bench, theirs) == []


async def test_two_handles_on_a_name_see_one_conversation() -> None:
    bench = Bench()
    one, two = await opened(bench, bench.process(), "notes"), await opened(bench, bench.process(), "notes")
    assert one != two
    await append(bench, one, user("from one"))
    assert await conversation(bench, two) == [user("from one")]


async def test_a_name_that_is_open_keeps_its_model() -> None:
    bench = Bench(ByteModel("a@1"), ByteModel("b@1"))
    process = bench.process()
    handle = await opened(bench, process, "notes", "a@1")
    with pytest.raises(Busy, match="open with a@1"):
        await opened(bench, process, "notes", "b@1")
    await close(bench, process, handle)
    assert stat(bench, process, await opened(bench, process, "notes", "b@1")).model == "b@1"


async def test_append_may_demand_a_version() -> None:
    bench = Bench()
    handle = await opened(bench, bench.process())
    version = await append(bench, handle, user("a"), expect=0)
    with pytest.raises(Busy, match="at version 1, not 0"):
        await append(bench, handle, user("b"), expect=0)
    assert await append(bench, handle, user("b"), expect=version) == 2


async def test_a_fork_shares_what_was_and_nothing_after() -> None:
    bench = Bench(bounds=TINY_BOUNDS)
    process = bench.process()
    parent = await opened(bench, process)
    await append(bench, parent, *TURNS)
    rows = "SELECT count(*) FROM pages"
    fork = (await bench.contexts.fork(process, parent)).context
    before = bench.truth.read_now(lambda db: db.execute(rows).get)
    assert bench.contexts.get(fork).pages == []
    await append(bench, parent, user("only the parent"))
    await append(bench, fork, user("only the fork"))
    assert await conversation(bench, parent) == [*TURNS, user("only the parent")]
    assert await conversation(bench, fork) == [*TURNS, user("only the fork")]
    assert bench.truth.read_now(lambda db: db.execute(rows).get) == before
    assert bench.contexts.get(fork).window.turns()[:-1] == bench.contexts.get(parent).window.turns()[:-1]


class Copied(list[Ref]):
    """Counts what is copied of it, or together with it."""

    items = 0

    def __getitem__(self, at: Any) -> Any:
        taken = super().__getitem__(at)
        Copied.items += len(taken)
        return taken

    def __radd__(self, before: list[Ref]) -> list[Ref]:
        Copied.items += len(before) + len(self)
        return [*before, *self]


def line_of_forks(*own: tuple[int, int]) -> Context:
    """Conversations that are each the fork of the one before, with so many pages of their own, of which the next shares
    all but so many."""
    above, shared, number = None, 0, itertools.count()
    for pages, unshared in own:
        context = Context(
            id=1, principal="p", name=None, model="m", tools=(), reserve_tokens=1, window_tokens=9, parent=above,
            shared=shared,
        )  # fmt: skip
        context.pages = Copied(Ref(str(next(number)), 0, 1, 1) for _ in range(pages))
        above, shared = context, max(0, shared + pages - unshared)
    assert above is not None
    return above


@given(own=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=6))
def test_a_fork_has_what_it_shares_and_its_own(own: list[tuple[int, int]]) -> None:
    line = [line_of_forks(*own)]
    while line[-1].parent is not None:
        line.append(line[-1].parent)
    refs: list[Ref] = []
    for context in reversed(line):
        refs = [*refs[: context.shared], *context.pages]
    assert line[0].refs() == refs


def test_pages_are_copied_once_however_long_the_line_of_forks_is() -> None:
    last = line_of_forks((100, 0), *((1, 0) for _ in range(100)))
    Copied.items = 0
    assert len(last.refs()) == 200
    assert Copied.items <= 200


async def count_rows(bench: Bench, table: str) -> int:
    return await bench.truth.read(lambda db: int(db.execute(f"SELECT count(*) FROM {table}").get))


async def test_closing_an_unnamed_context_drops_its_pages_and_nobody_elses() -> None:
    bench = Bench(bounds=TINY_BOUNDS)
    process = bench.process()
    one, two = await opened(bench, process), await opened(bench, process)
    await append(bench, one, *TURNS, user("only one" * 20), resident=False)
    await append(bench, two, *TURNS, resident=False)
    pages = await count_rows(bench, "pages")
    await close(bench, process, one)
    assert 0 < await count_rows(bench, "pages") < pages
    assert await conversation(bench, two) == TURNS
    with pytest.raises(NotFound):
        bench.contexts.get(one)
    await close(bench, process, two)
    assert await count_rows(bench, "pages") == 0
    assert await count_rows(bench, "contexts") == await count_rows(bench, "entries") == 0
    assert process.contexts == set()


async def test_a_fork_outlives_its_parent_and_the_last_one_takes_all_away() -> None:
    bench = Bench(bounds=TINY_BOUNDS)
    process = bench.process()
    parent = await opened(bench, process)
    await append(bench, parent, *TURNS)
    child = (await bench.contexts.fork(process, parent)).context
    grandchild = (await bench.contexts.fork(process, child)).context
    await close(bench, process, parent)
    await close(bench, process, child)
    assert await conversation(bench, grandchild) == TURNS
    await close(bench, process, grandchild)
    assert await count_rows(bench, "pages") == await count_rows(bench, "contexts") == 0


async def test_forks_of_a_named_context_do_not_take_it_along() -> None:
    bench = Bench(bounds=TINY_BOUNDS)
    process = bench.process()
    notes = await opened(bench, process, "notes")
    await append(bench, notes, *TURNS)
    fork = (await bench.contexts.fork(process, notes)).context
    await close(bench, process, notes)
    await close(bench, process, fork)
    assert await conversation(bench, await opened(bench, process, "notes")) == TURNS


async def test_the_contexts_of_a_process_end_with_it() -> None:
    bench = Bench(bounds=TINY_BOUNDS)
    process, other = bench.process(), bench.process()
    await opened(bench, process)
    handle = await opened(bench, process)
    notes = await opened(bench, process, "notes")
    kept = await opened(bench, other)
    await append(bench, handle, *TURNS)
    await append(bench, notes, *TURNS)
    bench.contexts.release(process)
    assert len(bench.contexts) == 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert await count_rows(bench, "contexts") == 2
    assert await conversation(bench, await opened(bench, other, "notes")) == TURNS
    assert bench.contexts.get(kept).turns == 0


async def test_a_boot_sweeps_what_an_earlier_life_left(tmp_path: Path) -> None:
    truth, keys = Truth.open(tmp_path / FILE), Seals(tmp_path / "keys")
    bench = Bench(bounds=TINY_BOUNDS, truth=truth, seals=keys)
    process = bench.process()
    for name in (None, "notes"):
        await append(bench, await opened(bench, process, name), *TURNS, user(f"{name}" * 50), resident=False)
    pages = await count_rows(bench, "pages")
    again = Bench(bounds=TINY_BOUNDS, truth=truth, seals=keys)
    await again.contexts.boot()
    assert await count_rows(again, "contexts") == 1
    assert 0 < await count_rows(again, "pages") < pages
    fresh = await opened(again, again.process())
    await append(again, fresh, user("no clash"))
    truth.close()


async def test_too_many_contexts_are_refused_until_one_is_closed() -> None:
    bench = Bench(bounds=TINY_BOUNDS)
    process = bench.process()
    handles = [await opened(bench, process) for _ in range(TINY_BOUNDS.contexts_max)]
    with pytest.raises(TryAgain, match="4 contexts are open"):
        await opened(bench, process)
    await close(bench, process, handles[0])
    await opened(bench, process)


async def test_bad_arguments_are_refused_with_what_to_do() -> None:
    bench = Bench()
    process = bench.process()
    handle = await opened(bench, process)
    with pytest.raises(Invalid, match="without parts"):
        await append(bench, handle, Turn("user", ()))
    for reserve in (0, 1000, 5000):
        with pytest.raises(Invalid, match="less than the 1000 tokens of bytes@1's window"):
            await context_open(bench.machine, bench.trap(process, "context.open"), Open(reserve_tokens=reserve))
    with pytest.raises(NotFound, match="no model gpt"):
        await opened(bench, process, model="gpt")


async def test_an_append_that_the_disk_refuses_changes_nothing() -> None:
    bench = Bench(bounds=TINY_BOUNDS)
    handle = await opened(bench, bench.process())
    await append(bench, handle, user("before"))
    context = bench.contexts.get(handle)
    commit: Callable[..., Awaitable[object]] = bench.truth.commit

    async def refuse(work: object) -> object:
        raise TryAgain("disk full")

    bench.truth.commit = refuse  # type: ignore[method-assign,assignment]
    with pytest.raises(TryAgain):
        await append(bench, handle, user("lost"), assistant("x" * 500))
    bench.truth.commit = commit  # type: ignore[method-assign,assignment]
    assert (context.version, len(context.window.entries)) == (1, 1)
    await append(bench, handle, user("after"))
    assert await conversation(bench, handle) == [user("before"), user("after")]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)
APPENDS = st.lists(
    st.tuples(
        st.lists(
            st.one_of(
                st.builds(user, TEXTS),
                st.builds(lambda text: assistant(text, ToolCall("f", {})), TEXTS),
                st.builds(tool, TEXTS),
            ),
            max_size=4,
        ),
        st.booleans(),
        st.sampled_from(["", "fork", "reopen", "boot"]),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(appends=APPENDS)
def test_whatever_is_appended_is_there_word_for_word(appends: list[tuple[list[Turn], bool, str]]) -> None:
    async def main() -> None:
        seals, truth = Seals(None), Truth.in_memory()
        bench = Bench(bounds=TINY_BOUNDS, truth=truth, seals=seals)
        process = bench.process()
        handle = await opened(bench, process, "c")
        expected: list[Turn] = []
        for turns, resident, then in appends:
            await append(bench, handle, *turns, resident=resident)
            expected.extend(turns)
            if then == "fork":
                fork = (await bench.contexts.fork(process, handle)).context
                await append(bench, fork, user("aside"))
                assert await conversation(bench, fork) == [*expected, user("aside")]
                await close(bench, process, fork)
            if then == "reopen":
                await close(bench, process, handle)
                handle = await opened(bench, process, "c")
            if then == "boot":
                bench = Bench(bounds=TINY_BOUNDS, truth=truth, seals=seals)
                await bench.contexts.boot()
                process = bench.process()
                handle = await opened(bench, process, "c")
            assert await conversation(bench, handle) == expected
            info = stat(bench, process, handle)
            assert info.version == info.turns == len(expected)
            assert info.resident_pages <= info.pages

    trio.run(main)


async def test_a_reopened_window_has_the_instructions_and_the_newest_turns() -> None:
    bench = Bench(ByteModel(window=400), bounds=Bounds(page_tokens_max=32))
    process = bench.process()
    handle = await opened(bench, process, "c")
    turns = [system("be brief"), *(user(f"turn {n} " + "x" * 80) for n in range(60))]
    await append(bench, handle, *turns)
    await close(bench, process, handle)
    handle = await opened(bench, process, "c")
    window = bench.contexts.get(handle).window
    shown = window.turns()
    assert shown[0].text.startswith("be brief")
    assert "earlier turns are not shown" in shown[0].text
    assert shown[-1] == turns[-1]
    assert len(shown) < 30
    assert window.gone_turns == len(turns) - len(shown)


async def test_many_turns_at_once_are_placed_in_one_walk() -> None:
    """A walk over the window for each page that they fill held up the kernel for minutes."""
    bench = Bench(bounds=Bounds(page_tokens_max=64))
    process = bench.process()
    handle = await opened(bench, process)
    began_s = time.process_time()
    await append(bench, handle, *[user("a")] * TURNS_MAX)
    assert time.process_time() - began_s < 2
    held = bench.contexts.get(handle)
    closed = [entry for entry in held.window.entries if entry.position < held.tail_first]
    assert len(closed) > TURNS_MAX // 2 and all(len(entry.pages) == 1 for entry in closed)


async def test_nobody_waits_while_pages_are_made() -> None:
    bench = Bench()
    handle = await opened(bench, bench.process())
    async with counted() as turns:
        await append(bench, handle, *(user(str(n)) for n in range(64 * PAGES_AT_ONCE)), resident=False)
    assert turns.had >= 32

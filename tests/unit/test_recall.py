"""Recall: what was just written is found, what the store lost comes back, faults are counted, budgets hold."""

from collections.abc import Sequence

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kernel.config import TINY_BOUNDS, Bounds
from kernel.generation.fault import QUERY_CHARS_MAX
from kernel.mm.index import address_of
from kernel.mm.recall import WORDS_AT_ONCE, Scored, fuse, in_common, rank, unite
from kernel.process import Process
from kernel.sys.context import context_open, context_recall
from kernel.sys.generate import model_embed
from kernel.wait import slowly
from syscalls.calls.context import Append, Open, Recall, Recalled
from syscalls.calls.model import Embed
from syscalls.errors import Invalid, NotFound, OverQuota, TryAgain
from syscalls.resources import Resource
from syscalls.turns import ToolCall, Turn, assistant, tool, user
from tests.devices import DIMENSIONS, Bench, ByteModel
from tests.turns import counted

FACTS = {
    "cats.txt": "the cat sleeps on the warm windowsill",
    "ships.txt": "a ship carries cargo over the ocean",
    "bread.txt": "bread rises when yeast eats sugar",
    "stars.txt": "stars burn hydrogen for billions of years",
}


async def opened(bench: Bench, process: Process) -> int:
    answer = await context_open(bench.machine, bench.trap(process, "context.open"), Open())
    return answer.context


async def write(bench: Bench, handle: int, *turns: Turn, resident: bool = False) -> None:
    asked = Append(context=handle, turns=turns, resident=resident)
    await bench.contexts.binder.append(bench.contexts.get(handle), asked)


async def library(bench: Bench, process: Process) -> int:
    handle = await opened(bench, process)
    await write(bench, handle, *(user(text, source=source) for source, text in FACTS.items()))
    return handle


async def ask(
    bench: Bench, process: Process, handle: int, query: str, *, k: int = 1, tokens: int = 1024, page_in: bool = False
) -> Recalled:
    trap = bench.trap(process, "context.recall")
    asked = Recall(context=handle, query=query, k=k, tokens_max=tokens, page_in=page_in)
    return await context_recall(bench.machine, trap, asked)


async def test_what_was_written_a_moment_ago_is_found_without_an_index() -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    bench.devices.dict.away = TryAgain("no host came back")
    answer = await ask(bench, process, handle, "where does the cat sleep")
    assert [(each.source, each.text) for each in answer.passages] == [("cats.txt", FACTS["cats.txt"])]
    assert answer.faults == 1
    assert not answer.passages[0].resident
    assert bench.contexts.info(handle).indexed == 0
    assert not any(record.kind == "recall_by_words" for record in bench.trace.since(0))


async def test_no_page_is_embedded_twice_however_many_ask_at_once() -> None:
    bench = Bench()
    process = bench.process()
    handle = await opened(bench, process)
    await write(bench, handle, *(user(f"page {n} of many") for n in range(100)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        async with trio.open_nursery() as asking:
            for _ in range(4):
                asking.start_soon(ask, bench, process, handle, "page")
        await bench.contexts.index.settled()
        nursery.cancel_scope.cancel()
    assert bench.devices.words.tokens == 100 * 4 + 4
    assert bench.contexts.info(handle).indexed == 100


async def test_what_is_still_open_in_the_window_is_found_too() -> None:
    bench = Bench()
    process = bench.process()
    handle = await opened(bench, process)
    await write(bench, handle, user("remember that the code is 4711"), resident=True)
    answer = await ask(bench, process, handle, "what is the code")
    assert "4711" in answer.passages[0].text
    assert answer.passages[0].resident
    assert answer.faults == 0


async def test_a_question_that_the_model_is_just_asking_does_not_find_itself() -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    asking = (user("where does the cat sleep"), assistant("", ToolCall("recall", {"query": "cat sleep"})))
    await write(bench, handle, *asking, resident=True)
    answer = await ask(bench, process, handle, "where does the cat sleep", k=2)
    assert answer.passages[0].source == "cats.txt"
    assert all("where does" not in each.text for each in answer.passages)
    assert bench.contexts.get(handle).tail == list(asking)


async def test_the_store_answers_what_is_indexed_and_the_same_as_a_scan() -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    scanned = await ask(bench, process, handle, "ocean cargo", k=4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await bench.contexts.index.settled()
        assert bench.contexts.info(handle).indexed == len(FACTS)
        bench.contexts.index.shelf(process.principal).fresh.clear()
        stored = await ask(bench, process, handle, "ocean cargo", k=4)
        nursery.cancel_scope.cancel()
    assert [each.page for each in stored.passages] == [each.page for each in scanned.passages]
    assert stored.passages[0].source == "ships.txt"


async def test_pages_of_another_context_are_not_found() -> None:
    bench = Bench()
    process = bench.process()
    await library(bench, process)
    other = await opened(bench, process)
    await write(bench, other, user("nothing of the kind"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await bench.contexts.index.settled()
        bench.contexts.index.shelf(process.principal).fresh.clear()
        answer = await ask(bench, process, other, "where does the cat sleep", k=3)
        nursery.cancel_scope.cancel()
    assert [each.text for each in answer.passages] == ["nothing of the kind"]


async def test_an_empty_conversation_recalls_nothing() -> None:
    bench = Bench()
    process = bench.process()
    assert await ask(bench, process, await opened(bench, process), "anything") == Recalled(passages=())


async def test_paging_in_shows_each_page_once_and_counts_faults() -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    first = await ask(bench, process, handle, "the cat sleeps", page_in=True)
    second = await ask(bench, process, handle, "the cat sleeps", page_in=True)
    assert (first.faults, second.faults) == (1, 0)
    assert second.passages[0].resident
    context = bench.contexts.get(handle)
    assert context.window.turns() == (tool(FACTS["cats.txt"], name="recall", source="cats.txt"),)
    assert context.window.pages() == (first.passages[0].page,)
    assert (process.faults, context.faults, bench.trace.faults) == (1, 1, 1)
    (event,) = [record for record in bench.trace.since(0) if record.kind == "fault"]
    assert event.pid == process.pid
    assert (event.detail["page"], event.detail["source"]) == (first.passages[0].page, "cats.txt")


async def test_passages_keep_within_the_tokens_asked_for() -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    one = len(FACTS["cats.txt"]) + 4
    assert len((await ask(bench, process, handle, "the cat", k=4, tokens=10_000)).passages) == 4
    assert len((await ask(bench, process, handle, "the cat", k=4, tokens=one)).passages) == 1
    assert (await ask(bench, process, handle, "the cat", k=4, tokens=5)).passages == ()


@pytest.mark.parametrize("away", ["embedding", "store"])
async def test_without_a_device_words_in_common_decide(away: str) -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await bench.contexts.index.settled()
        nursery.cancel_scope.cancel()
    bench.contexts.index.shelf(process.principal).fresh.clear()
    if away == "embedding":
        bench.devices.words.away = TryAgain("no host came back")
    else:
        bench.devices.dict.away = NotFound("no store")
    answer = await ask(bench, process, handle, "what does yeast eat")
    assert answer.passages[0].source == "bread.txt"
    assert any(record.kind == "recall_by_words" for record in bench.trace.since(0))


async def test_a_store_that_comes_back_empty_is_filled_from_the_truth() -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await bench.contexts.index.settled()
        (before,) = bench.devices.dict.rows.values()
        bench.devices.dict.lose()
        await trio.testing.wait_all_tasks_blocked()
        await bench.contexts.index.settled()
        (after,) = bench.devices.dict.rows.values()
        nursery.cancel_scope.cancel()
    assert after == before
    assert bench.contexts.info(handle).indexed == len(FACTS)


async def test_what_the_store_has_too_much_of_is_deleted() -> None:
    bench = Bench()
    process = bench.process()
    await library(bench, process)
    collection = bench.contexts.index.shelf(process.principal).collection
    bench.devices.dict.rows[collection] = {"stranger.0": bytes(4 * DIMENSIONS)}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await bench.contexts.index.settled()
        nursery.cancel_scope.cancel()
    assert "stranger.0" not in bench.devices.dict.rows[collection]


async def test_dropped_pages_leave_the_store(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    kept = await opened(bench, process)
    await write(bench, kept, user(FACTS["cats.txt"], source="cats.txt"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await bench.contexts.index.settled()
        await bench.contexts.close(process, handle)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    (rows,) = bench.devices.dict.rows.values()
    (ref,) = bench.contexts.get(kept).refs()
    assert {address_of(each) for each in rows} == {ref.address}


@pytest.mark.parametrize(("at_once", "parts"), [(2, [2, 2, 1]), (5, [5])])
async def test_dropped_pages_leave_some_at_a_time_and_what_was_written_again_stays(
    at_once: int, parts: list[int], autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel.mm.index.GONE_PAGES", at_once)
    bench = Bench()
    process = bench.process()
    kept, dropped = await opened(bench, process), await opened(bench, process)
    await write(bench, dropped, *(user(f"page {n}") for n in range(5)))
    index, asked = bench.contexts.index, []
    present = index._library.present

    async def counted(principal: str, addresses: Sequence[str]) -> set[str]:
        asked.append(len(addresses))
        return await present(principal, addresses)

    monkeypatch.setattr(index._library, "present", counted)
    await bench.contexts.close(process, dropped)
    await write(bench, kept, user("page 3"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await index.settled()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert asked == parts
    (rows,) = bench.devices.dict.rows.values()
    (ref,) = bench.contexts.get(kept).refs()
    assert {address_of(each) for each in rows} == {ref.address}
    assert bench.contexts.info(kept).indexed == 1


async def test_slowly_is_the_same_and_others_have_their_turn() -> None:
    async with counted() as turns:
        assert [each async for each in slowly(range(1000), at_once=10)] == list(range(1000))
    assert turns.had >= 50


async def test_the_indexer_goes_on_when_a_host_comes_back(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    bench.devices.dict.away = TryAgain("no host came back")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await trio.sleep(100)
        assert bench.contexts.info(handle).indexed == 0
        bench.devices.dict.away = None
        await bench.contexts.index.settled()
        nursery.cancel_scope.cancel()
    assert bench.contexts.info(handle).indexed == len(FACTS)
    assert sum(record.kind == "index_waits" for record in bench.trace.since(0)) == 1


async def test_all_that_was_embedded_is_charged_once_to_somebody() -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    await ask(bench, process, handle, "where does the cat sleep")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.contexts.run)
        await bench.contexts.index.settled()
        nursery.cancel_scope.cancel()
    trap = bench.trap(process, "model.embed")
    await model_embed(bench.machine, trap, Embed(texts=("three more words",)))
    assert process.account.used[Resource.TOKENS] == 5 + 3
    assert bench.accounts.tokens == bench.devices.words.tokens
    assert bench.accounts.overhead.used[Resource.TOKENS] == sum(len(text.split()) for text in FACTS.values())
    bench.accounts.check()


async def test_who_cannot_pay_for_the_question_cannot_ask() -> None:
    bench = Bench()
    rich = bench.process()
    handle = await library(bench, rich)
    poor = bench.process(tokens_max=3)
    with pytest.raises(OverQuota):
        await ask(bench, poor, handle, "where does the cat sleep")
    assert not any(poor.account.held)


async def test_bad_questions_are_refused() -> None:
    bench = Bench()
    process = bench.process()
    handle = await library(bench, process)
    for query, k, tokens in ((" ", 1, 1), ("x" * (QUERY_CHARS_MAX + 1), 1, 1), ("x", 0, 1), ("x", 101, 1), ("x", 1, 0)):
        with pytest.raises(Invalid):
            await ask(bench, process, handle, query, k=k, tokens=tokens)


async def test_vectors_come_back_in_order_and_only_from_the_embedding_model() -> None:
    bench = Bench()
    process = bench.process()
    trap = bench.trap(process, "model.embed")
    texts = tuple(f"text number {n}" for n in range(150))
    answer = await model_embed(bench.machine, trap, Embed(texts=texts))
    assert answer.dimensions == DIMENSIONS
    one = await model_embed(bench.machine, trap, Embed(texts=(texts[100],)))
    assert answer.vectors[100 * 4 * DIMENSIONS :][: 4 * DIMENSIONS] == one.vectors
    with pytest.raises(NotFound, match="embedding model is words"):
        await model_embed(bench.machine, trap, Embed(texts=("x",), model="bytes"))
    with pytest.raises(Invalid):
        await model_embed(bench.machine, trap, Embed(texts=()))


async def test_long_pages_are_found_by_what_stands_at_their_end() -> None:
    bench = Bench(ByteModel(window=100_000), bounds=Bounds(page_tokens_max=512))
    process = bench.process()
    handle = await library(bench, process)
    await write(bench, handle, user("filler word " * 140 + "the heron stands in the reeds", source="long.txt"))
    answer = await ask(bench, process, handle, "heron reeds stands", tokens=10_000)
    assert answer.passages[0].source == "long.txt"


async def test_tiny_pages_work_as_large_ones_do() -> None:
    bench = Bench(bounds=TINY_BOUNDS)
    process = bench.process()
    handle = await library(bench, process)
    assert (await ask(bench, process, handle, "stars burn")).passages[0].source == "stars.txt"


SCORES = st.dictionaries(st.sampled_from("abcdef"), st.floats(-1, 1, allow_nan=False), max_size=6)


@given(scanned=SCORES, hits=st.lists(st.tuples(st.sampled_from(["a.0", "a.1", "g.0"]), st.floats(-1, 1))))
def test_uniting_keeps_the_best_score_of_each_page(scanned: dict[str, float], hits: list[tuple[str, float]]) -> None:
    united = unite(scanned, [each for each, _ in hits], [score for _, score in hits])
    for address, score in united.items():
        seen = [s for each, s in hits if address_of(each) == address] + [scanned.get(address, -1.0)]
        assert score == max(seen)
    assert united.keys() == scanned.keys() | {address_of(each) for each, _ in hits}


def test_of_equals_the_earlier_page_comes_first_and_strangers_are_left_out() -> None:
    order = {"a": 0, "b": 1, "c": 2}
    assert rank({"c": 0.5, "b": 0.5, "x": 0.9, "a": 0.4}, order) == [
        Scored("b", 0.5),
        Scored("c", 0.5),
        Scored("a", 0.4),
    ]


async def test_rare_words_count_more() -> None:
    scores = await in_common("the yeast", {"a": "the cat", "b": "the ship", "c": "Yeast!", "d": "none"})
    assert scores["c"] > scores["a"] == scores["b"]
    assert "d" not in scores


async def test_nobody_waits_while_words_are_compared() -> None:
    texts = {str(n): f"{n} yeast" * WORDS_AT_ONCE for n in range(10)}
    async with counted() as turns:
        assert len(await in_common("the yeast", texts)) == 10
    assert turns.had >= 5


async def test_a_rare_word_outweighs_what_is_a_little_nearer_in_meaning() -> None:
    near = {"vague": 0.5, "named": 0.4}
    texts = {"vague": "the process", "named": "the zygote", "far": "the end"}
    fused = fuse(near, await in_common("the zygote", texts))
    assert fused["named"] > fused["vague"] > fused["far"]
    assert fuse({"same": 1.0}, {"same": 1.0}) == {"same": 1.0}
    assert fuse(near, {}) == {"vague": 0.25, "named": 0.2}

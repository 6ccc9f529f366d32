"""Generations: never above the window, held before and settled after, queued fairly, streamed, kept."""

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.config import Bounds
from kernel.generation.generate import STOPS_MAX
from kernel.generation.prompt import PLENTY
from kernel.mm.page import size_of
from kernel.process import Process
from kernel.sys.context import context_append, context_generate, context_open, context_stat
from kernel.sys.generate import model_generate
from kernel.trap import Trap
from kernos.testing import up
from syscalls.calls.context import Append, Generate, Generated, Open, Piece, Stat
from syscalls.calls.model import OneShot
from syscalls.errors import BrokenPipe, Invalid, NotFound, OverQuota, OverWindow, TimedOut, TryAgain
from syscalls.resources import Resource
from syscalls.row import Row
from syscalls.table import BY_NAME
from syscalls.turns import ToolCall, ToolSpec, Turn, assistant, system, tool, user
from tests.devices import Bench, ByteModel

RESERVE = 100


async def opened(bench: Bench, process: Process, *turns: Turn, tools: tuple[ToolSpec, ...] = ()) -> int:
    asked = Open(reserve_tokens=RESERVE, tools=tools)
    handle = (await context_open(bench.machine, bench.trap(process, "context.open"), asked)).context
    await append(bench, handle, *turns)
    return handle


async def append(bench: Bench, handle: int, *turns: Turn) -> None:
    await bench.contexts.binder.append(bench.contexts.get(handle), Append(context=handle, turns=turns))


async def speak(
    bench: Bench, process: Process, handle: int, items: list[Any] | None = None, **options: Any
) -> Generated:
    trap = bench.trap(process, "context.generate", items)
    return await context_generate(bench.machine, trap, Generate(context=handle, **options))


def books_balance(bench: Bench, *models: ByteModel) -> None:
    bench.accounts.check()
    bench.scheduler.check()
    assert bench.accounts.tokens == sum(model.read + model.made for model in models)
    assert all(not any(account.held) for account in bench.accounts.all())
    assert all(bench.scheduler.busy(model.name) == 0 for model in models)


async def test_an_answer_is_streamed_counted_and_kept() -> None:
    model = ByteModel(script=lambda text: "hello")
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    items: list[Piece] = []
    trap = bench.trap(process, "context.generate", items)
    answer = await context_generate(bench.machine, trap, Generate(context=handle, max_tokens=50))
    assert "".join(piece.text for piece in items) == answer.text == "hello"
    assert (answer.finish, answer.version) == ("stop", 2)
    assert (answer.usage.prompt_tokens, answer.usage.generated_tokens) == (2 + 2 + 2 + 4, 5)
    assert (trap.prompt_tokens, trap.generated_tokens) == (10, 5)
    assert (process.prompt_tokens, process.generated_tokens, process.account.used[Resource.TOKENS]) == (10, 5, 15)
    assert bench.contexts.get(handle).window.turns() == (user("hi"), assistant("hello"))
    assert [record[0] for record in await _tails(bench)] == [0, 1]
    books_balance(bench, model)


async def _tails(bench: Bench) -> list[Any]:
    return await bench.truth.read(lambda db: list(db.execute("SELECT position FROM tails ORDER BY position")))


async def test_an_answer_that_is_not_wanted_is_not_kept() -> None:
    bench = Bench()
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    assert (await speak(bench, process, handle, append=False)).version == 1
    assert bench.contexts.get(handle).turns == 1


async def test_the_answer_stops_at_what_was_asked_for() -> None:
    bench = Bench(ByteModel(script=lambda text: "x" * 100))
    process = bench.process()
    answer = await speak(bench, process, await opened(bench, process, user("hi")), max_tokens=7)
    assert (answer.text, answer.finish) == ("x" * 7, "length")


async def test_the_answer_may_use_what_the_prompt_leaves_of_the_window() -> None:
    model = ByteModel(window=400, script=lambda text: "x" * 10_000)
    bench = Bench(model)
    process = bench.process()
    answer = await speak(bench, process, await opened(bench, process, user("hi")), max_tokens=10_000)
    assert len(answer.text) == 400 - 10
    books_balance(bench, model)


async def test_a_long_conversation_is_compacted_once_at_the_high_mark_down_to_the_low_mark() -> None:
    model = ByteModel(window=1100)
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, system("be brief"))
    for n in range(40):
        await append(bench, handle, user(f"{n:02} " + "x" * 93))
        await speak(bench, process, handle)
    limit = 1100 - RESERVE
    assert max(model.prompts) <= 0.9 * limit
    drops = [before - after for before, after in zip(model.prompts, model.prompts[1:], strict=False) if after < before]
    assert 5 <= len(drops) <= 14
    assert all(drop >= 0.15 * limit for drop in drops)
    info = context_stat(bench.machine, bench.trap(process, "context.stat"), Stat(context=handle))
    assert info.evictions > 40
    assert info.refilled_tokens > 0
    assert info.resident_pages < info.pages
    shown = bench.contexts.get(handle).window.turns()
    assert shown[0].text.startswith("be brief\n[")
    assert sum(record.kind == "evict" for record in bench.trace.since(0)) == len(drops)
    books_balance(bench, model)


async def test_evicted_turns_are_in_pages() -> None:
    bench = Bench(ByteModel(window=600), bounds=Bounds(page_tokens_max=2000))
    process = bench.process()
    handle = await opened(bench, process, *(user(f"{n} " + "x" * 90) for n in range(8)))
    await speak(bench, process, handle)
    context = bench.contexts.get(handle)
    assert context.window.gone_turns > 0
    assert context.tail_first > 0
    assert all(entry.pages or entry.position >= context.tail_first for entry in context.window.entries)


async def test_what_cannot_fit_is_refused_with_the_numbers() -> None:
    model = ByteModel(window=1000)
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, user("old"), user("y" * 950))
    with pytest.raises(OverWindow, match=r"take \d+ tokens; the window of bytes@1 has 1000, less 100"):
        await speak(bench, process, handle)
    assert model.prompts == []
    books_balance(bench, model)
    await append(bench, handle, user("short"))
    assert (await speak(bench, process, handle)).text == "ok"


async def test_a_tool_that_answers_with_a_book_is_shown_by_head_and_tail() -> None:
    model = ByteModel(window=1000)
    bench = Bench(model)
    process = bench.process()
    book = "BEGIN" + "z" * 20_000 + "END"
    handle = await opened(bench, process, user("read it"), assistant("", ToolCall("read", {})), tool(book))
    await speak(bench, process, handle)
    shown = bench.contexts.get(handle).window.turns()[-2].text
    assert shown.startswith("BEGIN")
    assert shown.endswith("END")
    assert max(model.prompts) <= 900
    assert len(bench.contexts.get(handle).refs()) > 5


async def test_tools_count_as_part_of_the_prompt() -> None:
    model = ByteModel()
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, user("hi"), tools=(ToolSpec("calculate"),))
    await speak(bench, process, handle)
    assert model.prompts == [10 + len("calculate")]


async def test_a_model_without_a_tokenizer_is_given_turns() -> None:
    model = ByteModel(exact=False)
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    assert (await speak(bench, process, handle)).text == "ok"
    books_balance(bench, model)


@settings(deadline=None, max_examples=60)
@given(
    window=st.integers(120, 800),
    script=st.lists(
        st.tuples(
            st.sampled_from(["user", "assistant", "tool", "system", "call"]), st.integers(0, 1500), st.booleans()
        ),
        max_size=14,
    ),
    exact=st.booleans(),
    max_tokens=st.integers(1, 500),
)
def test_no_call_ever_exceeds_the_window(
    window: int, script: list[tuple[str, int, bool]], exact: bool, max_tokens: int
) -> None:
    """The driver refuses what is over; here it never has to."""

    async def main() -> None:
        model = ByteModel(window=window, exact=exact, script=lambda text: "a" * 60)
        bench = Bench(model, bounds=Bounds(page_tokens_max=32))
        process = bench.process()
        handle = await opened(bench, process)
        for role, size, then in script:
            made: Turn
            match role:
                case "user":
                    made = user("u" * size)
                case "assistant":
                    made = assistant("a" * size + "x")
                case "tool":
                    made = tool("t" * size)
                case "system":
                    made = system("s" * (size // 20))
                case _:
                    made = assistant("", ToolCall("f", {}))
            await append(bench, handle, made)
            if then:
                try:
                    await speak(bench, process, handle, max_tokens=max_tokens)
                except OverWindow as refused:
                    assert "take" in str(refused), "refused by the driver, not by us"
        assert all(size <= window - RESERVE for size in model.prompts)
        books_balance(bench, model)

    trio.run(main)


async def test_a_host_that_counts_more_is_asked_again_with_less_at_most_twice() -> None:
    lenient = ByteModel(window=1000, hidden=200)
    bench = Bench(lenient)
    process = bench.process()
    handle = await opened(bench, process, *(user("x" * 100) for _ in range(7)))
    assert (await speak(bench, process, handle, max_tokens=100)).text == "ok"
    assert any(record.kind == "window_refused" for record in bench.trace.since(0))
    books_balance(bench, lenient)

    hopeless = ByteModel(window=1000, hidden=990)
    bench = Bench(hopeless)
    process = bench.process()
    handle = await opened(bench, process, *(user("x" * 100) for _ in range(8)))
    with pytest.raises(OverWindow):
        await speak(bench, process, handle, max_tokens=100)
    assert sum(record.kind == "window_refused" for record in bench.trace.since(0)) == 3
    books_balance(bench, hopeless)


async def test_a_budget_is_held_at_the_worst_case() -> None:
    model = ByteModel(script=lambda text: "hello")
    bench = Bench(model)
    process = bench.process(tokens_max=40)
    handle = await opened(bench, process, user("hi"))
    with pytest.raises(OverQuota, match=r"may use 40 tokens"):
        await speak(bench, process, handle, max_tokens=31)
    assert model.prompts == []
    await speak(bench, process, handle, max_tokens=30)
    assert process.account.used[Resource.TOKENS] == 15
    books_balance(bench, model)


async def test_clip_asks_for_what_the_account_can_pay() -> None:
    model = ByteModel(script=lambda text: "x" * 100)
    bench = Bench(model)
    process = bench.process(tokens_max=40)
    handle = await opened(bench, process, user("hi"))
    assert len((await speak(bench, process, handle, max_tokens=100, clip=True)).text) == 30
    with pytest.raises(OverQuota, match=r"the prompt and one token do not fit: .* has used 40 and holds 0"):
        await speak(bench, process, handle, max_tokens=100, clip=True)
    books_balance(bench, model)


async def test_a_generation_that_is_cancelled_is_charged_for_what_was_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    model = ByteModel(script=lambda text: "x" * 100, step_s=1.0)
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    with trio.move_on_after(5.5):
        await speak(bench, process, handle)
    assert (process.prompt_tokens, process.generated_tokens) == (10, 5)
    assert bench.contexts.get(handle).turns == 1
    assert not bench.contexts.get(handle).speaking.locked()
    books_balance(bench, model)


async def test_a_generation_that_is_cancelled_in_the_queue_costs_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    model = ByteModel(slots=1, script=lambda text: "x" * 10, step_s=1.0)
    bench = Bench(model)
    busy, waiting = bench.process(), bench.process()
    one, two = await opened(bench, busy, user("a")), await opened(bench, waiting, user("b"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, bench, busy, one)
        await trio.sleep(0.5)
        with trio.move_on_after(2):
            await speak(bench, waiting, two)
        assert bench.scheduler.waiting(model.name) == 0
    assert waiting.account.used[Resource.TOKENS] == 0
    assert len(model.prompts) == 1
    books_balance(bench, model)


async def test_a_deadline_counts_the_queue(autojump_clock: trio.testing.MockClock) -> None:
    model = ByteModel(slots=1, script=lambda text: "x" * 10, step_s=1.0)
    bench = Bench(model)
    busy, waiting = bench.process(), bench.process()
    one, two = await opened(bench, busy, user("a")), await opened(bench, waiting, user("b"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, bench, busy, one)
        await trio.sleep(0.5)
        with pytest.raises(TimedOut, match=r"in 3\.0 s, waiting for a seat included"):
            await speak(bench, waiting, two, deadline_s=3.0)
    with pytest.raises(TimedOut):
        await speak(bench, waiting, two, deadline_s=4.5)
    assert waiting.generated_tokens == 4
    books_balance(bench, model)


async def test_a_reader_that_does_not_read_ends_its_generation_and_frees_the_slot() -> None:
    model = ByteModel(script=lambda text: "x" * 100)
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    taken: list[Any] = []

    def emit(item: Any) -> None:
        if len(taken) == 3:
            raise BrokenPipe("3 items wait to be read")
        taken.append(item)

    row: Row = BY_NAME["context.generate"]
    trap = Trap(process=process, row=row, emit=emit, room=trio.lowlevel.checkpoint)
    with pytest.raises(BrokenPipe, match="3 items"):
        await context_generate(bench.machine, trap, Generate(context=handle))
    assert model.running == 0
    assert trap.generated_tokens == 4
    books_balance(bench, model)


async def test_a_driver_that_fails_before_it_began_costs_nothing() -> None:
    model = ByteModel()
    model.fails = [TryAgain("no host came back")]
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    with pytest.raises(TryAgain):
        await speak(bench, process, handle)
    assert process.account.used[Resource.TOKENS] == 0
    assert (await speak(bench, process, handle)).text == "ok"
    books_balance(bench, model)


async def test_two_generations_of_one_context_come_one_after_the_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    model = ByteModel(script=lambda text: "abc", step_s=1.0)
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, bench, process, handle)
        nursery.start_soon(speak, bench, process, handle)
    assert model.most_running == 1
    assert bench.contexts.get(handle).window.turns() == (user("hi"), assistant("abc"), assistant("abc"))


async def test_different_contexts_use_all_slots(autojump_clock: trio.testing.MockClock) -> None:
    model = ByteModel(slots=3, script=lambda text: "abc", step_s=1.0)
    bench = Bench(model)
    processes = [bench.process() for _ in range(7)]
    handles = [await opened(bench, process, user("hi")) for process in processes]
    async with trio.open_nursery() as nursery:
        for process, handle in zip(processes, handles, strict=True):
            nursery.start_soon(speak, bench, process, handle)
    assert model.most_running == 3
    assert trio.current_time() == pytest.approx(9.0)
    books_balance(bench, model)


async def test_a_stopped_process_waits_and_then_speaks(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench()
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    process.stop()
    async with trio.open_nursery() as nursery:
        answers: list[Generated] = []

        async def ask() -> None:
            answers.append(await speak(bench, process, handle))

        nursery.start_soon(ask)
        await trio.sleep(10)
        assert answers == []
        process.resume()
        bench.scheduler.wake()
    assert answers[0].usage.queued_s == pytest.approx(10.0)


async def test_appending_goes_on_while_the_model_speaks(autojump_clock: trio.testing.MockClock) -> None:
    bench = Bench(ByteModel(script=lambda text: "abc", step_s=1.0))
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, bench, process, handle)
        await trio.sleep(1.5)
        await append(bench, handle, user("and another thing"))
        assert trio.current_time() == pytest.approx(1.5)
    assert bench.contexts.get(handle).window.turns()[1:] == (user("and another thing"), assistant("abc"))


async def test_a_context_that_is_closed_while_its_model_speaks_says_so(
    autojump_clock: trio.testing.MockClock,
) -> None:
    model = ByteModel(script=lambda text: "abc", step_s=1.0)
    bench = Bench(model)
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(NotFound, match="closed meanwhile"):
                await speak(bench, process, handle)

        nursery.start_soon(ask)
        await trio.sleep(1.5)
        await bench.contexts.close(process, handle)
    books_balance(bench, model)


async def test_one_shot_leaves_nothing_behind() -> None:
    model = ByteModel(script=lambda text: "hello")
    bench = Bench(model)
    process = bench.process()
    items: list[Piece] = []
    trap = bench.trap(process, "model.generate", items)
    answer = await model_generate(bench.machine, trap, OneShot(turns=(user("hi"),), max_tokens=3))
    assert (answer.text, answer.finish, answer.version) == ("hel", "length", 0)
    assert "".join(piece.text for piece in items) == "hel"
    assert len(bench.contexts) == 0
    with pytest.raises(OverWindow, match=r"take 1008 tokens, bytes@1 has a window of 1000"):
        await model_generate(bench.machine, trap, OneShot(turns=(user("x" * 1000),)))
    with pytest.raises(Invalid, match="no turns"):
        await model_generate(bench.machine, trap, OneShot(turns=()))
    books_balance(bench, model)


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"stop": ("",)},
        {"stop": ("a",) * (STOPS_MAX + 1)},
        {"deadline_s": -1.0},
        {"deadline_s": float("nan")},
    ],
)
async def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    bench = Bench()
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    with pytest.raises(Invalid, match=next(iter(options)).split("_")[0]):
        await speak(bench, process, handle, **options)
    trap = bench.trap(process, "model.generate")
    with pytest.raises(Invalid):
        await model_generate(bench.machine, trap, OneShot(turns=(user("hi"),), **options))


async def test_what_is_not_there_is_said_to_be_missing() -> None:
    bench = Bench()
    process = bench.process()
    with pytest.raises(NotFound, match="no context 99"):
        await speak(bench, process, 99)
    with pytest.raises(Invalid, match="empty context"):
        await speak(bench, process, await opened(bench, process))


async def test_what_is_appended_and_never_asked_about_does_not_stay_in_memory() -> None:
    bench = Bench(ByteModel(window=1000))
    process = bench.process()
    handle = await opened(bench, process)
    for n in range(50):
        trap = bench.trap(process, "context.append")
        await context_append(bench.machine, trap, Append(context=handle, turns=(user(f"{n} " + "x" * 2000),)))
    context = bench.contexts.get(handle)
    assert sum(size_of(entry.turn) for entry in context.window.entries) <= PLENTY * context.limit
    assert context.window.turns()[-1].text.startswith("49 ")
    assert context.turns == 50
    with pytest.raises(OverWindow, match="can never fit the 900 tokens"):
        await context_append(bench.machine, trap, Append(context=handle, turns=(system("s" * 10_000),)))
    assert context.turns == 50


async def test_faults_are_told_with_the_next_answer() -> None:
    bench = Bench()
    process = bench.process()
    handle = await opened(bench, process, user("hi"))
    bench.contexts.get(handle).faults = 3
    assert (await speak(bench, process, handle)).faults == 3
    assert (await speak(bench, process, handle)).faults == 0


async def test_a_window_below_its_mark_is_not_looked_through(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("kernel.mm.window.Window.items")
    async with up() as machine, await machine.sys.open() as talk:
        await talk.append(user("hi"))
        assert (await talk.generate(max_tokens=4)).text

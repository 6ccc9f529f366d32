"""Advice on pages: pins stay and are bounded, what is not needed goes first, the answer says what was done."""

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.config import Bounds
from kernel.generation.advice import SHARE
from kernel.mm.window import Item, plan
from kernel.process import Process
from kernel.sys.context import (
    context_advise,
    context_append,
    context_generate,
    context_open,
    context_recall,
    context_stat,
)
from syscalls.calls.context import Advice, Advise, Advised, Append, Generate, Open, Recall, Stat
from syscalls.errors import Invalid, NotFound, OverWindow
from syscalls.turns import ToolCall, Turn, assistant, system, tool, user
from tests.devices import Bench, ByteModel

WINDOW, RESERVE = 1000, 100
LIMIT = WINDOW - RESERVE
BOUNDS = Bounds(page_tokens_max=32, low_water=0.8)


class Talk:
    """One context of a machine of its own."""

    def __init__(self, bench: Bench, process: Process, handle: int) -> None:
        self.bench, self.process, self.handle = bench, process, handle

    @classmethod
    async def begin(cls, model: ByteModel | None = None) -> "Talk":
        bench = Bench(model or ByteModel(window=WINDOW), bounds=BOUNDS)
        process = bench.process()
        asked = Open(reserve_tokens=RESERVE)
        opened = await context_open(bench.machine, bench.trap(process, "context.open"), asked)
        return cls(bench, process, opened.context)

    def trap(self, name: str) -> Any:
        return self.bench.trap(self.process, name)

    async def append(self, *turns: Turn, resident: bool = True) -> tuple[str, ...]:
        asked = Append(context=self.handle, turns=turns, resident=resident)
        return (await context_append(self.bench.machine, self.trap("context.append"), asked)).pages

    async def advise(self, advice: Advice, *pages: str) -> Advised:
        asked = Advise(context=self.handle, advice=advice, pages=pages)
        return await context_advise(self.bench.machine, self.trap("context.advise"), asked)

    async def speak(self, **options: Any) -> None:
        asked = Generate(context=self.handle, **options)
        await context_generate(self.bench.machine, self.trap("context.generate"), asked)

    async def recall(self, query: str) -> None:
        asked = Recall(context=self.handle, query=query, k=2, tokens_max=300, page_in=True)
        await context_recall(self.bench.machine, self.trap("context.recall"), asked)

    @property
    def pages(self) -> list[str]:
        return [ref.address for ref in self.bench.contexts.get(self.handle).refs()]

    @property
    def resident(self) -> tuple[str, ...]:
        return self.bench.contexts.get(self.handle).window.pages()

    @property
    def pinned_tokens(self) -> int:
        return context_stat(self.bench.machine, self.trap("context.stat"), Stat(context=self.handle)).pinned_tokens


def note(name: str, size: int = 112) -> Turn:
    return user(f"{name} " + "x" * (size - len(name) - 1))


async def test_what_is_pinned_stays_while_all_else_goes() -> None:
    talk = await Talk.begin()
    (first,) = await talk.append(note("first"))
    (second,) = await talk.append(note("second"))
    done = await talk.advise("pin", first)
    assert (done.pages, done.paged_in, done.pinned_tokens) == ((first,), (), 116)
    for n in range(20):
        await talk.append(note(f"later {n}"))
        await talk.speak()
        assert first in talk.resident
    assert second not in talk.resident
    assert talk.pinned_tokens == 116
    assert (await talk.advise("normal")).pages == (first,)
    for n in range(20):
        await talk.append(note(f"last {n}"))
        await talk.speak()
    assert first not in talk.resident and talk.pinned_tokens == 0


async def test_a_pin_pages_in_what_is_not_there() -> None:
    talk = await Talk.begin()
    (book,) = await talk.append(user("the book says mew", source="book.txt"), resident=False)
    assert book not in talk.resident
    done = await talk.advise("pin", book)
    assert (done.pages, done.paged_in) == ((book,), (book,))
    await talk.append(user("what does it say?"))
    await talk.speak()
    shown = talk.bench.contexts.get(talk.handle).window.turns()
    assert shown[0].role == "tool" and shown[0].source == "book.txt" and "mew" in shown[0].text


async def test_pins_take_at_most_half_of_a_prompt_and_are_refused_with_the_numbers() -> None:
    talk = await Talk.begin()
    pages = [page for n in range(5) for page in await talk.append(note(f"{n}"))]
    await talk.advise("pin", *pages[:3])
    before = (talk.resident, talk.pinned_tokens)
    with pytest.raises(OverWindow, match="would take 464 tokens; at most 450 of the 900"):
        await talk.advise("pin", pages[3])
    assert (talk.resident, talk.pinned_tokens) == before == (talk.resident, 348)
    await talk.advise("normal", pages[0])
    await talk.advise("pin", pages[3])
    with pytest.raises(OverWindow, match="348 of them pinned"):
        await talk.append(user("y" * 700))
        await talk.speak()


async def test_a_call_and_its_results_stay_together() -> None:
    talk = await Talk.begin()
    await talk.append(user("look"), assistant("", ToolCall("look", {})), tool("r" * 200), note("after"))
    page = talk.pages[0]
    await talk.advise("pin", page)
    for n in range(12):
        await talk.append(note(f"{n}"))
        await talk.speak()
    shown = talk.bench.contexts.get(talk.handle).window.turns()
    assert [turn.role for turn in shown if turn.calls or turn.role == "tool"] == ["assistant", "tool"]


async def test_what_is_not_needed_goes_first() -> None:
    talk = await Talk.begin()
    pages = [page for n in range(5) for page in await talk.append(note(f"{n}"))]
    assert (await talk.advise("dontneed", pages[2], pages[3])).pages == (pages[2], pages[3])
    await talk.append(note("one more"), note("two more"))
    await talk.speak()
    assert [page in talk.resident for page in pages] == [True, True, False, False, True]
    assert (await talk.advise("dontneed", pages[2])).pages == ()  # it is not there any more


async def test_will_need_pages_in_what_fits_and_says_so() -> None:
    talk = await Talk.begin()
    pages = [page for n in range(6) for page in await talk.append(note(f"{n}"), resident=False)]
    done = await talk.advise("willneed", *pages)
    assert done.pages == done.paged_in == tuple(pages[:3])
    assert (await talk.advise("willneed", *pages[:2])).paged_in == ()
    assert talk.bench.contexts.get(talk.handle).faults == 0


async def test_the_last_word_counts() -> None:
    talk = await Talk.begin()
    (page,) = await talk.append(note("page"))
    await talk.advise("pin", page)
    assert (await talk.advise("dontneed", page)).pinned_tokens == 0
    assert (await talk.advise("pin", page)).pinned_tokens == 116
    assert not any(entry.unwanted for entry in talk.bench.contexts.get(talk.handle).window.entries)


async def test_the_same_text_said_again_is_not_pinned_by_a_pin() -> None:
    talk = await Talk.begin()
    (page,) = await talk.append(note("same"))
    await talk.advise("pin", page)
    assert await talk.append(note("same")) == (page,)
    assert talk.pinned_tokens == 116


async def test_a_fork_has_the_pins_of_its_parent_and_they_part() -> None:
    talk = await Talk.begin()
    (page,) = await talk.append(note("page"))
    await talk.advise("pin", page)
    fork = Talk(talk.bench, talk.process, (await talk.bench.contexts.fork(talk.process, talk.handle)).context)
    await talk.advise("normal")
    assert (talk.pinned_tokens, fork.pinned_tokens) == (0, 116)


async def test_advice_on_nothing_or_on_what_is_elsewhere_is_refused() -> None:
    talk, other = await Talk.begin(), await Talk.begin()
    (page,) = await other.append(note("page"))
    with pytest.raises(NotFound, match="in this context"):
        await talk.advise("pin", page)
    with pytest.raises(Invalid, match="0 pages: 1 to 256"):
        await talk.advise("willneed")
    with pytest.raises(Invalid, match="257 pages"):
        await talk.advise("pin", *(str(n) for n in range(257)))
    with pytest.raises(NotFound):
        await Talk(talk.bench, talk.process, 99).advise("pin", page)


ITEMS = st.lists(st.tuples(st.integers(1, 100), st.booleans(), st.booleans()), max_size=20)


@given(drawn=ITEMS, limit=st.integers(1, 1000))
def test_unwanted_units_go_before_wanted_ones_and_pinned_ones_never(
    drawn: list[tuple[int, bool, bool]], limit: int
) -> None:
    items = [Item(tokens, at, pinned=pin, unwanted=not want) for at, (tokens, pin, want) in enumerate(drawn)]
    decided = plan(items, fixed=0, stub=0, limit=limit, high=int(0.9 * limit), low=int(0.6 * limit))
    order = sorted((at for at, item in enumerate(items) if not item.pinned), key=lambda at: (drawn[at][2], at))
    assert sorted(order[: len(decided.evict)]) == list(decided.evict)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 300)),
        st.tuples(st.just("shelve"), st.integers(1, 300)),
        st.tuples(st.just("instruct"), st.integers(1, 60)),
        st.tuples(st.just("generate"), st.integers(1, 200)),
        st.tuples(st.just("recall"), st.integers(0, 9)),
        st.tuples(st.sampled_from(["pin", "pin", "willneed", "dontneed", "normal"]), st.integers(0, 50)),
    ),
    max_size=25,
)


@settings(max_examples=150)
@given(steps=STEPS, exact=st.booleans())
def test_the_window_holds_under_any_sequence_of_append_recall_advice_and_generation(
    steps: list[tuple[str, int]], exact: bool
) -> None:
    async def main() -> None:
        model = ByteModel(window=WINDOW, exact=exact, script=lambda text: "z" * 50)
        talk = await Talk.begin(model)
        pinned: set[str] = set()
        for n, (step, number) in enumerate(steps):
            match step:
                case "say" | "shelve":
                    await talk.append(note(f"{n}", number + 10), resident=step == "say")
                case "instruct":
                    await talk.append(system("s" * number))
                case "recall":
                    await talk.recall(f"word {number}")
                case "generate":
                    try:
                        await talk.speak(max_tokens=number)
                    except (Invalid, OverWindow):
                        pass  # nothing to say, or the last turn cannot fit
                case _:
                    if pages := talk.pages[number : number + 3]:
                        try:
                            done = await talk.advise(step, *pages)  # type: ignore[arg-type]
                        except OverWindow:
                            continue
                        if step == "pin":
                            pinned.update(pages)
                        elif step != "willneed":
                            pinned.difference_update((*pages, *done.pages))
                        if step != "normal":  # which frees a turn of several pages whole
                            assert set(done.pages) <= set(pages)
            assert pinned <= set(talk.resident)
            assert talk.pinned_tokens <= SHARE * LIMIT
        assert all(tokens <= LIMIT for tokens in model.prompts)
        talk.bench.accounts.check()

    trio.run(main)

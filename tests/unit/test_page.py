"""Pages: nothing is lost between turns and pages, calls stay with their results, large bodies are chains."""

import time

from hypothesis import given
from hypothesis import strategies as st

from kernel.mm.page import Run, cut, join, pending, size_of, slices_of, split, text_of
from syscalls.turns import Image, Text, ToolCall, ToolResult, Turn, assistant, tool, user

TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)
CALLS = st.builds(ToolCall, name=st.sampled_from(["f", "g"]), arguments=st.dictionaries(st.text(max_size=3), TEXTS))
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(ToolResult, TEXTS, name=st.text(max_size=5)),
    CALLS,
    st.builds(Image, st.binary(max_size=20)),
)
TURNS = st.builds(
    Turn,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.lists(PARTS, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["", "a.txt"]),
)


def joined(runs: list[Run]) -> list[Turn]:
    """The turns that runs stand for."""
    turns: list[Turn] = []
    parts: list[Turn] = []
    for run in runs:
        if run.parts == 1:
            turns.extend(run.turns)
            continue
        parts.extend(run.turns)
        if run.part == run.parts:
            turns.append(join(parts))
            parts = []
    assert not parts, "a chain without its end"
    return turns


@given(turns=st.lists(TURNS, max_size=12), bytes_max=st.integers(64, 600), flush=st.booleans())
def test_pages_and_rest_are_the_turns_again(turns: list[Turn], bytes_max: int, flush: bool) -> None:
    runs, taken = cut(turns, bytes_max=bytes_max, flush=flush)
    assert joined(runs) == turns[:taken]
    assert sum(run.counted for run in runs) == taken
    if flush:
        assert taken == len(turns)


@given(turns=st.lists(TURNS, max_size=12), bytes_max=st.integers(64, 600))
def test_a_page_is_no_larger_than_it_may_be_unless_a_call_waits(turns: list[Turn], bytes_max: int) -> None:
    runs, _ = cut(turns, bytes_max=bytes_max, flush=True)
    for run in runs:
        size = sum(map(size_of, run.turns))
        if size > bytes_max and run.parts == 1:
            waits = any(pending(run.turns[:end]) for end in range(1, len(run.turns)))
            assert len(run.turns) == 1 or waits


@given(turns=st.lists(TURNS, max_size=12), bytes_max=st.integers(64, 600))
def test_what_is_closed_once_is_closed_for_ever(turns: list[Turn], bytes_max: int) -> None:
    """Appending turn by turn gives the pages that appending all at once gives."""
    at_once, _ = cut(turns, bytes_max=bytes_max, flush=False)
    tail: list[Turn] = []
    one_by_one: list[Run] = []
    for turn in turns:
        runs, taken = cut([*tail, turn], bytes_max=bytes_max, flush=False)
        one_by_one.extend(runs)
        tail = [*tail, turn][taken:]
    assert one_by_one == at_once


def test_a_call_and_its_results_share_a_page_where_they_fit_one() -> None:
    turns = [
        user("x" * 80),
        assistant("y" * 10, ToolCall("f", {}), ToolCall("g", {})),
        tool("z" * 60),
        tool("w" * 60),
        user("next"),
    ]
    runs, taken = cut(turns, bytes_max=120, flush=False)
    (exchange,) = [run for run in runs if any(turn.calls for turn in run.turns)]
    assert [turn.role for turn in exchange.turns] == ["assistant", "tool", "tool"]
    assert taken == 4


def test_calls_that_nobody_answers_do_not_wait_for_ever() -> None:
    asked = assistant("", ToolCall("f", {}))
    assert pending([user("a"), asked]) == 1
    assert pending([asked, tool("x")]) == 0
    assert pending([asked, user("never mind")]) == 0


def test_a_large_body_is_a_chain_of_parts_cut_where_people_would() -> None:
    text = "\n".join(f"line {n} says something" for n in range(100))
    parts = split(tool(text, source="log.txt"), bytes_max=300)
    assert len(parts) > 5
    assert all(size_of(part) <= 300 and part.source == "log.txt" for part in parts)
    assert all(part.text.endswith("\n") for part in parts[:-1])
    assert join(parts) == tool(text, source="log.txt")


@given(text=st.text(st.characters(codec="utf-8"), max_size=2000), bytes_max=st.integers(40, 500))
def test_splitting_cuts_between_letters_and_joining_undoes_it(text: str, bytes_max: int) -> None:
    parts = split(user(text), bytes_max=bytes_max)
    assert join(parts) == user(text)
    if len(parts) > 1:
        assert all(part.text for part in parts)
        assert all(len(part.text.encode()) <= max(4, bytes_max) for part in parts)


def test_an_empty_conversation_has_no_pages() -> None:
    assert cut([], bytes_max=100, flush=True) == ([], 0)


def test_slices_cover_the_text_of_a_page() -> None:
    page = (user("a" * 1000), assistant("b" * 700), Turn("user", (Image(b"x"),)))
    assert "".join(slices_of(page)) == text_of(page) == "a" * 1000 + "\n" + "b" * 700
    assert slices_of((Turn("user", (Image(b"x"),)),)) == ()


def test_an_exchange_of_many_results_is_cut_in_a_time_that_grows_with_it() -> None:
    """To count anew for each what is still owed took minutes for what one call may bring."""
    calls = Turn("assistant", tuple(ToolCall("t", {}, str(n)) for n in range(20_000)))
    results = [Turn("tool", (ToolResult("x" * 40, "t", str(n)),)) for n in range(20_000)]
    began_s = time.process_time()
    assert cut([calls, *results[:-1]], bytes_max=2048, flush=False) == ([], 0), "it waits for the last"
    runs, taken = cut([calls, *results, *results[:200]], bytes_max=2048, flush=False)
    assert time.process_time() - began_s < 3
    assert len(runs[0].turns) == 20_001 and taken > 20_001

"""Unit tests of what may be shown of a text that is still being generated."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.certain import Certain, first_match, longest_prefix_at_end, parse_call
from syscalls.turns import ToolCall

CALL = '<tool_call>{"name": "calculate", "arguments": {"expression": "2+2"}}</tool_call>'


def run(raw: str, *, stop: tuple[str, ...] = (), step: int = 1, tools: bool = True) -> tuple[Certain, str]:
    certain = Certain(stop, tools=tools)
    shown = "".join(certain.feed(raw[at : at + step]) for at in range(0, len(raw), step))
    return certain, shown + certain.finish()


def test_plain_text_is_shown_as_it_comes() -> None:
    certain = Certain()
    assert [certain.feed(piece) for piece in ("Hel", "lo", " wor", "ld")] == ["Hel", "lo", " wor", "ld"]


def test_a_possible_stop_string_is_held_back_until_it_is_decided() -> None:
    certain = Certain(("END",))
    assert certain.feed("aE") == "a"
    assert certain.feed("N") == ""
    assert certain.feed("x") == "ENx"


def test_nothing_after_a_stop_string_is_taken() -> None:
    certain, shown = run("one STOP two", stop=("STOP",))
    assert certain.stopped
    assert shown == certain.text == "one "


def test_the_earliest_stop_string_wins() -> None:
    assert run("a b c", stop=("c", "b"))[1] == "a "


def test_a_tool_call_is_taken_out_of_the_text() -> None:
    certain, shown = run("I will look.\n" + CALL)
    assert shown == "I will look."
    assert certain.calls == [ToolCall("calculate", {"expression": "2+2"})]


def test_several_calls_and_text_after() -> None:
    certain, shown = run(f"a {CALL}\n{CALL} b")
    assert (len(certain.calls), shown) == (2, "a b")


@pytest.mark.parametrize(
    "raw",
    [
        "<tool_call>not json</tool_call>",
        "<tool_call>[1]</tool_call>",
        '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "x", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": "x"',
        "text </tool_call> more",
    ],
)
def test_what_is_no_tool_call_stays_text(raw: str) -> None:
    certain, shown = run(raw)
    assert (certain.calls, shown) == ([], raw)


def test_the_inside_of_a_tool_call_is_never_shown_before_it_is_whole() -> None:
    certain = Certain()
    pieces = [certain.feed(letter) for letter in CALL]
    assert "".join(pieces) == ""


def test_arguments_as_a_json_string_are_read() -> None:
    assert parse_call('{"name": "x", "arguments": "{\\"a\\": 1}"}') == ToolCall("x", {"a": 1})


def test_trailing_white_space_is_shown_when_no_call_follows() -> None:
    assert run("done \n")[1] == "done \n"


def test_without_tools_tags_are_text() -> None:
    assert run(CALL, tools=False)[1] == CALL


@given(st.text(alphabet="ab<tol_c>/ \nEND", max_size=80), st.integers(1, 7), st.integers(1, 7))
def test_how_the_text_is_cut_into_pieces_changes_nothing(raw: str, one: int, other: int) -> None:
    first, shown = run(raw, stop=("END", "ab"), step=one)
    second, again = run(raw, stop=("END", "ab"), step=other)
    assert (shown, first.calls) == (again, second.calls)
    assert shown == first.text
    assert first_match(shown, ("END", "ab")) is None


@given(st.text(alphabet="ab <", max_size=20), st.text(alphabet="ab <", max_size=20))
def test_text_and_calls_come_apart(before: str, after: str) -> None:
    certain, shown = run(before + CALL + after)
    assert len(certain.calls) == 1
    assert shown == before.rstrip() + (after if after.strip() else "")


@given(
    st.lists(st.sampled_from([CALL, "a", " ", "\n", "<tool_call>{}</tool_call>", "<to"]), max_size=6),
    st.integers(1, 200),
)
def test_calls_cut_into_pieces_change_nothing(parts: list[str], step: int) -> None:
    raw = "".join(parts)
    whole, shown = run(raw, step=max(1, len(raw)))
    pieces, again = run(raw, step=step)
    assert (shown, whole.calls) == (again, pieces.calls)


@given(st.text(alphabet="xy", max_size=12), st.lists(st.text(alphabet="xy", min_size=1, max_size=4), max_size=3))
def test_longest_prefix_at_end_is_what_it_says(text: str, words: list[str]) -> None:
    expected = max(
        (n for word in words for n in range(1, len(word)) if n <= len(text) and text.endswith(word[:n])), default=0
    )
    assert longest_prefix_at_end(text, words) == expected


def test_the_json_of_a_call_may_hold_any_text() -> None:
    body = json.dumps({"name": "answer", "arguments": {"text": "ünïcode \n <b> }"}})
    certain, shown = run(f"<tool_call>\n{body}\n</tool_call>")
    assert (shown, certain.calls[0].arguments["text"]) == ("", "ünïcode \n <b> }")

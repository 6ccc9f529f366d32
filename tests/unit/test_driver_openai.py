"""The pure half of the openai driver: events in any pieces, answers, conversations that the API takes, refusals."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.compatible.answer import Answer
from drivers.compatible.events import LINE_BYTES_MAX, Events
from drivers.compatible.refusals import refusal, said_by
from drivers.compatible.requests import bounds_of, messages_of
from syscalls.driver import Generate, Sampling
from syscalls.errors import Errno, IOFailed
from syscalls.turns import Part, Text, ToolCall, ToolResult, ToolSpec, Turn, user

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x85\u2028\u2029"), min_size=1)


def events_in(pieces: list[bytes]) -> list[str]:
    events = Events()
    found = [data for piece in pieces for data in events.feed(piece)]
    return found + list(events.finish())


@settings(deadline=None)
@given(st.lists(TEXTS), st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(0, 400)), st.booleans())
def test_events_are_the_same_in_any_pieces(data: list[str], end: str, cuts: list[int], ended: bool) -> None:
    stream = "".join(f": note{end}event: x{end}data: {each}{end}{end}" for each in data).encode()
    stream = stream if ended else stream.removesuffix(end.encode())
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert events_in(pieces) == data


def test_data_of_several_lines_is_joined_and_the_space_is_optional() -> None:
    assert events_in([b"data:a\ndata: b\nid: 7\n\n\n\ndata"]) == ["a\nb"]


def test_a_line_that_never_ends_is_refused() -> None:
    events = Events()
    with pytest.raises(IOFailed, match="no event stream"):
        for _ in range(LINE_BYTES_MAX // 65536 + 1):
            list(events.feed(b"x" * 65536))


def answered(*chunks: dict[str, Any], stop: tuple[str, ...] = (), tools: bool = False) -> tuple[Answer, str]:
    call = Generate(
        device=1, sampling=Sampling(99, stop=stop), turns=(user("x"),), tools=(ToolSpec("look"),) if tools else ()
    )
    answer = Answer(call)
    text = "".join([answer.take(json.dumps(chunk)) for chunk in chunks if not answer.ended])
    return answer, text + answer.rest()


def said(text: str | None = None, *, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text, **delta}, "finish_reason": finish}]}


@settings(deadline=None)
@given(st.text(), st.lists(st.integers(0, 50)), st.lists(st.text(min_size=1), max_size=3))
def test_text_in_any_pieces_is_cut_at_the_first_stop_string(text: str, cuts: list[int], stop: list[str]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [said(text[a:b]) for a, b in pairwise(places)]
    answer, streamed = answered(*pieces, said(finish="stop"), stop=tuple(stop))
    finished = answer.finished(prompt_bound=10)
    found = [text.index(word) for word in stop if word in text]
    assert finished.text == streamed == text[: min(found, default=len(text))]
    assert finished.finish == ("stop_string" if found else "stop")


def test_calls_of_several_servers_are_understood() -> None:
    opened = {"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": each}} for each in ('{"at"', ": 1}")]
    whole = {"index": 1, "id": "b", "function": {"name": "find", "arguments": {"for": "x"}}}
    chunks = [said(tool_calls=[each]) for each in (opened, *pieces, whole)]
    finished = answered(*chunks, said(finish="tool_calls"), tools=True)[0].finished(prompt_bound=1)
    assert finished.calls == (ToolCall("look", {"at": 1}, "a"), ToolCall("find", {"for": "x"}, "b"))
    assert finished.finish == "calls"
    hermes = said('ok <tool_call>{"name": "look", "arguments": {}}</tool_call>', finish="stop")
    finished = answered(hermes, tools=True)[0].finished(prompt_bound=1)
    assert (finished.calls, finished.text, finished.finish) == ((ToolCall("look", {}),), "ok", "calls")


def test_counts_come_from_the_server_else_they_are_bounds() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": None}}
    counted = answered(said("hi ä", finish="stop"), usage)[0].finished(prompt_bound=50)
    bounded = answered(said("hi ä", finish="length"))[0].finished(prompt_bound=50)
    assert (counted.prompt_tokens, counted.generated_tokens) == (7, 2)
    assert (bounded.prompt_tokens, bounded.generated_tokens, bounded.finish) == (50, 5, "length")


@pytest.mark.parametrize("data", ["", "[]", "{", '{"choices": 3}', "null", "[" * 50_000, '{"choices": [{"delta": 4}]}'])
def test_what_is_no_chunk_is_eio(data: str) -> None:
    with pytest.raises(IOFailed, match="something else"):
        Answer(Generate(device=1, sampling=Sampling(9), turns=(user("x"),))).take(data)


PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, st.text(max_size=3)),
    st.builds(ToolCall, st.sampled_from("ab"), st.just({}), st.sampled_from(["", "1", "2"])),
    st.builds(ToolResult, st.text(max_size=3), st.sampled_from(["", "a", "b"]), st.sampled_from(["", "1", "2", "9"])),
)
TURNS = st.lists(
    st.builds(Turn, st.sampled_from(["system", "user", "assistant", "tool"]), st.lists(PARTS, max_size=4).map(tuple)),
    max_size=6,
)


@settings(deadline=None)
@given(TURNS)
def test_every_conversation_becomes_one_that_the_api_takes(turns: list[Turn]) -> None:
    waiting: set[str] = set()
    for message in messages_of(turns):
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting
            waiting.remove(message["tool_call_id"])
        else:
            assert not waiting
            calls = [call["id"] for call in message.get("tool_calls", ())]
            waiting = set(calls)
            assert len(waiting) == len(calls)
    assert not waiting


@settings(deadline=None)
@given(TURNS, TURNS)
def test_bounds_obey_the_append_law_and_cover_the_bytes(turns: list[Turn], more: list[Turn]) -> None:
    part, whole = bounds_of(turns, ()), bounds_of([*turns, *more], ())
    assert whole.counts[: len(turns) + 1] == part.counts[:-1]
    assert all(count >= len(turn.text.encode()) for count, turn in zip(part.counts[1:], turns, strict=False))


@pytest.mark.parametrize(
    ("status", "body", "errno"),
    [
        (401, '{"error": {"message": "no"}}', Errno.EPERM),
        (403, "", Errno.EPERM),
        (404, '{"detail": "Not Found"}', Errno.ENOENT),
        (307, "", Errno.ENOENT),
        (429, '{"error": "slow down"}', Errno.EAGAIN),
        (503, "<html>", Errno.EAGAIN),
        (500, "", Errno.EIO),
        (502, "<html>", Errno.EIO),
        (400, '{"message": "bad role"}', Errno.EINVAL),
        (422, '{"detail": [{"loc": ["body"], "msg": "Field required"}]}', Errno.EINVAL),
        (413, "", Errno.EWINDOW),
        (400, '{"error": {"message": "This model\'s maximum context length is 4096 tokens"}}', Errno.EWINDOW),
        (400, '{"error": {"message": "the request exceeds the available context size"}}', Errno.EWINDOW),
        (422, '{"error": "`inputs` tokens + `max_new_tokens` must be <= 4096"}', Errno.EWINDOW),
        (400, '{"error": {"message": "prompt is too long: 9 tokens"}}', Errno.EWINDOW),
    ],
)
def test_refusals_by_status_and_words(status: int, body: str, errno: Errno) -> None:
    found = refusal(status, body, url="http://x/v1/chat/completions")
    assert found.errno is errno
    assert "http://x/v1/chat/completions" in found.message
    assert "\n" not in found.message


@settings(deadline=None)
@given(st.text(max_size=2000))
def test_a_server_s_words_are_one_short_line_whatever_they_are(body: str) -> None:
    assert "\n" not in said_by(body)
    assert len(said_by(body)) <= 300

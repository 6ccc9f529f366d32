"""Unit tests of the simulated model: pure, scripted, resumed exactly, on a clock of the test's."""

import json
import struct

import pytest
import trio
from trio.testing import MockClock

from drivers.loading import load
from drivers.sim import SimModel
from drivers.simulated.tokens import END, heard, segment_of
from syscalls.driver import Embed, Embedded, Finished, Generate, Open, Render, Sampling, Tokens
from syscalls.errors import Invalid, IOFailed, NoSyscall, OverWindow
from syscalls.turns import ToolCall, Turn, assistant, tool, user

SCRIPT = json.dumps(
    [
        "first answer",
        {"text": "let me see", "calls": [{"name": "look", "arguments": {"at": "é"}}]},
        {"match": "boom", "error": "EIO", "text": "it broke"},
        {"match": "^weather", "text": "rain, STOP and sun"},
    ]
)


async def model(**options: str) -> SimModel:
    device = await load("sim").open(Open(kind="model", origin="x", options=options))
    assert isinstance(device, SimModel)
    return device


async def ask(
    device: SimModel, *turns: Turn, sampling: Sampling | None = None, generated: tuple[int, ...] = ()
) -> tuple[Finished, list[Tokens]]:
    rendered = await device.render(Render(device=1, turns=turns))
    prompt = rendered.head + tuple(i for segment in rendered.segments for i in segment) + rendered.tail
    items: list[Tokens] = []
    call = Generate(device=1, sampling=sampling or Sampling(200), prompt=prompt, generated=generated)
    return await device.generate(call, items.append), items


async def test_replies_come_in_the_order_of_the_answers_in_the_conversation() -> None:
    device = await model(script=SCRIPT)
    first, _ = await ask(device, user("hi"))
    second, _ = await ask(device, user("hi"), assistant(first.text), user("go on"))
    assert (first.text, first.finish) == ("first answer", "stop")
    assert (second.text, second.finish) == ("let me see", "calls")
    assert second.calls == (ToolCall("look", {"at": "é"}),)


async def test_after_the_script_words_are_drawn_by_the_prompt() -> None:
    device = await model(script='["one"]')
    third, _ = await ask(device, user("a"), assistant("one"), user("b"))
    again, _ = await ask(device, user("a"), assistant("one"), user("b"))
    other, _ = await ask(device, user("a"), assistant("one"), user("c"))
    assert third == again
    assert third.text != other.text


async def test_a_reply_is_found_by_the_last_turn() -> None:
    device = await model(script=SCRIPT)
    assert (await ask(device, user("x"), tool("weather?")))[0].text == "rain, STOP and sun"
    with pytest.raises(IOFailed, match="it broke"):
        await ask(device, user("boom"))


async def test_stop_strings_end_it() -> None:
    finished, items = await ask(await model(script=SCRIPT), user("weather"), sampling=Sampling(200, stop=("STOP",)))
    assert (finished.finish, finished.text) == ("stop_string", "rain, ")
    assert "".join(item.text for item in items) == finished.text


@pytest.mark.parametrize("stop", [(), ("and sun",), ("carr", "up")])
async def test_resuming_after_any_token_gives_the_identical_rest(stop: tuple[str, ...]) -> None:
    device = await model(script='["rain and sunshine äöü"]', step_tokens="3")
    for turns in ((user("q"),), (user("q"), assistant("rain"), user("more"))):
        sampling = Sampling(60, temperature=0.7, seed=5, stop=stop)
        whole, items = await ask(device, *turns, sampling=sampling)
        ids = tuple(i for item in items for i in item.ids)
        assert whole.generated_tokens == len(ids)
        for cut in range(len(ids) + 1):
            rest, later = await ask(device, *turns, sampling=sampling, generated=ids[:cut])
            assert (rest.text, rest.finish, rest.calls) == (whole.text, whole.finish, whole.calls)
            assert ids[:cut] + tuple(i for item in later for i in item.ids) == ids


async def test_max_tokens_cuts_a_character_in_half_without_harm() -> None:
    finished, items = await ask(await model(script='["aé"]'), user("q"), sampling=Sampling(2))
    assert finished.finish == "length"
    assert finished.text == "a\N{REPLACEMENT CHARACTER}" == "".join(item.text for item in items)


async def test_the_window_is_exact() -> None:
    device = await model(window="20")
    with pytest.raises(OverWindow, match=r"4 prompt tokens and max_tokens 17 are 21; the window is 20: 1 too many"):
        await ask(device, user("a"), sampling=Sampling(17))
    await ask(device, user("a"), sampling=Sampling(16))


async def test_time_is_the_clocks(mock_clock: MockClock) -> None:
    mock_clock.autojump_threshold = 0
    device = await model(tokens_per_second="10", prefill_tokens_per_second="4", step_tokens="1", script='["abcd"]')
    started = trio.current_time()
    await ask(device, user("a"))  # a prompt of 4 tokens, 4 letters and the end
    assert trio.current_time() - started == pytest.approx(1.0 + 0.5)


async def test_the_rate_is_kept_though_a_step_is_late(mock_clock: MockClock) -> None:
    mock_clock.autojump_threshold = 0
    device = await model(tokens_per_second="10", step_tokens="1", script='["abcdefgh"]')
    came: list[float] = []

    def emit(tokens: Tokens) -> None:
        came.append(trio.current_time() - started)
        if len(came) == 3:
            mock_clock.jump(0.25)  # somebody else has the core

    started = trio.current_time()
    await device.generate(Generate(device=1, sampling=Sampling(200), prompt=(1,)), emit)
    assert came == pytest.approx([0.1, 0.2, 0.3, 0.55, 0.55, 0.6, 0.7, 0.8, 0.9])


async def test_slots_bound_what_runs_at_once_and_cancelling_frees_one(mock_clock: MockClock) -> None:
    mock_clock.autojump_threshold = 0
    device = await model(slots="1", tokens_per_second="1", step_tokens="1", script='["abcdefgh"]')
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, device, user("a"))
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    with trio.fail_after(10):
        await ask(device, user("a"))


async def test_what_it_reads_is_what_was_rendered() -> None:
    turn = assistant("hé", ToolCall("t", {"a": 1}))
    ids = segment_of(turn)
    assert ids[-1] == END
    assert [(h.role, h.text) for h in heard(ids)] == [
        ("assistant", 'hé\n<tool_call>{"name": "t", "arguments": {"a": 1}}</tool_call>')
    ]


@pytest.mark.parametrize("options", [{"window": "0"}, {"sizes": "3"}, {"script": '[{"reply": 1}]'}, {"slots": "few"}])
async def test_wrong_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        await model(**options)


async def test_embeddings_bring_texts_with_the_same_words_together() -> None:
    device = await load("sim").open(Open(kind="embedding", origin=""))
    answer: Embedded = await device.embed(  # type: ignore[attr-defined]
        Embed(device=1, texts=("the quick fox", "a quick fox", "nothing else"))
    )
    rows = list(struct.iter_unpack(f"<{answer.dimensions}f", answer.vectors))

    def near(a: int, b: int) -> float:
        return float(sum(x * y for x, y in zip(rows[a], rows[b], strict=True)))

    assert near(0, 0) == pytest.approx(1.0)
    assert near(0, 1) > near(0, 2)


async def test_a_model_does_not_embed() -> None:
    with pytest.raises(NoSyscall):
        await (await model()).embed(Embed(device=1, texts=("x",)))

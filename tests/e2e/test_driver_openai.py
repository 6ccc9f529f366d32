"""The openai driver against a real HTTP server in another OS process: answers, tools, stops, refusals, cancelling."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from drivers.loading import load
from syscalls.driver import Finished, Generate, Open, Render, Sampling, Score, Tokens
from syscalls.errors import (
    Invalid,
    IOFailed,
    NoSyscall,
    NotFound,
    OverWindow,
    PermissionDenied,
    SyscallError,
    TimedOut,
    TryAgain,
)
from syscalls.hooks import ModelDevice
from syscalls.turns import Image, Text, ToolCall, ToolSpec, Turn, assistant, system, tool, user
from tests.openai_server import WINDOW_TOKENS, Running, running

KEY = "sk-test-0123456789"
LOOK = ToolSpec("look", "Looks at a place.", {"type": "object", "properties": {"at": {"type": "string"}}})


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture(scope="module")
def locked() -> Iterator[Running]:
    with running("--key", KEY, "--models", "small,large") as found:
        yield found


Opener = Callable[..., Awaitable[ModelDevice]]


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    """Opens devices by origin and options; they are closed at the end."""
    devices: list[ModelDevice] = []

    async def open_one(origin: str, **options: str) -> ModelDevice:
        device: ModelDevice = await load("openai").open(  # type: ignore[assignment]
            Open(kind="model", origin=origin, options=options)
        )
        devices.append(device)
        return device

    yield open_one
    for device in devices:
        await device.close()


async def ask(
    device: ModelDevice, *turns: Turn, sampling: Sampling | None = None, tools: tuple[ToolSpec, ...] = ()
) -> tuple[Finished, str]:
    items: list[Tokens] = []
    call = Generate(device=1, sampling=sampling or Sampling(200), turns=turns, tools=tools)
    finished = await device.generate(call, items.append)
    return finished, "".join(item.text for item in items)


async def test_it_finds_the_only_model_and_its_window(opened: Opener, server: Running) -> None:
    device = await opened(server.url + "/")
    assert device.opened.detail["remote_name"] == "chain-1"
    assert (device.opened.window_tokens, device.opened.counts) == (WINDOW_TOKENS, "bound")
    assert "resume-exact" not in device.opened.can
    assert (await opened(server.url, window_tokens="512", slots="3")).opened.window_tokens == 512
    await device.close()
    await device.close()


async def test_an_answer_streams_and_is_counted_by_the_server(opened: Opener, server: Running) -> None:
    device = await opened(server.url)
    finished, streamed = await ask(device, system("Be brief."), user("Tell me of ships."))
    assert finished.text == streamed != ""
    assert finished.finish == "stop"
    assert (finished.prompt_tokens, finished.generated_tokens) == (3 + 3 + 3 + 5, len(finished.text.split()))
    assert (await ask(device, system("Be brief."), user("Tell me of ships.")))[0] == finished


async def test_sampling_reaches_the_server(opened: Opener, server: Running) -> None:
    device = await opened(server.url)
    warm = [Sampling(200, temperature=1.0, top_p=0.5, seed=seed) for seed in (1, 1, 2)]
    one, again, other = [(await ask(device, user("Go."), sampling=each))[1] for each in warm]
    assert one == again != other
    seen = server.ask("/seen")
    assert (seen["seed"], seen["top_p"], seen["temperature"], seen["max_tokens"]) == (2, 0.5, 1.0, 200)
    short, _ = await ask(device, user("Go."), sampling=Sampling(4))
    assert (short.finish, short.generated_tokens, len(short.text.split())) == ("length", 4, 4)


async def test_the_limit_goes_by_the_name_that_the_server_wants(opened: Opener, server: Running) -> None:
    device = await opened(server.url, limit_field="max_completion_tokens")
    assert (await ask(device, user("Go."), sampling=Sampling(4)))[0].finish == "length"
    assert "max_tokens" not in server.ask("/seen")


@pytest.mark.parametrize(
    "stop", [("over",), ("er the", "zebra"), ("a1", "b2", "c3", "d4", "over"), ("a1", "b2", "c3", "d4", "n o")]
)
async def test_stop_strings_end_it_on_either_side(opened: Opener, server: Running, stop: tuple[str, ...]) -> None:
    device = await opened(server.url)
    text = "the moon over the bay"
    finished, streamed = await ask(device, user(f"say: {text}"), sampling=Sampling(50, stop=stop))
    cut = min(text.index(word) for word in stop if word in text)
    assert (finished.finish, finished.text, streamed) == ("stop_string", text[:cut], text[:cut])


async def test_tool_calls_are_put_together_and_their_results_go_back(opened: Opener, server: Running) -> None:
    device = await opened(server.url)
    asked = user('call: look {"at": "häfen", "n": [1, 2]}\ncall: look {}\ncall: unknown {}')
    finished, streamed = await ask(device, asked, tools=(LOOK,))
    first, second = finished.calls
    assert (finished.finish, finished.text, streamed) == ("calls", "I will look.", "I will look.")
    assert (first.name, first.arguments, second.arguments) == ("look", {"at": "häfen", "n": [1, 2]}, {})
    assert server.ask("/seen")["tools"][0]["function"]["name"] == "look"
    results = (tool("three", name="look", call_id=first.id), tool("none", name="look", call_id=second.id, error=True))
    await ask(device, asked, assistant(finished.text, *finished.calls), *results, tools=(LOOK,))
    said = server.ask("/seen")["messages"]
    assert [each["role"] for each in said] == ["user", "assistant", "tool", "tool"]
    assert [each["content"] for each in said[2:]] == ["three", "error: none"]


async def test_a_call_that_is_no_json_stays_text(opened: Opener, server: Running) -> None:
    finished, streamed = await ask(await opened(server.url), user('call: look {"at": '), tools=(LOOK,))
    assert finished.calls == ()
    assert finished.text == streamed == 'I will look.<tool_call>look {"at": </tool_call>'
    assert finished.finish == "stop"


async def test_turns_that_the_api_would_not_take_are_taken(opened: Opener, server: Running) -> None:
    device = await opened(server.url)
    recalled = tool("page 12 says so", name="recall")
    called = assistant("", ToolCall("look", {"at": "x"}), ToolCall("find", {}))
    await ask(device, recalled, user("a"), called, tool("seen", name="look"), user("b"), assistant("c"), user("d"))
    said = server.ask("/seen")["messages"]
    assert [each["role"] for each in said] == ["user", "user", "assistant", "tool", "tool", "user", "assistant", "user"]
    assert said[0]["content"] == "[recall]\npage 12 says so"
    assert [each["content"] for each in said[3:5]] == ["seen", "error: no result"]


async def test_images_go_as_data_urls(opened: Opener, server: Running) -> None:
    turn = Turn("user", (Text("what is it?"), Image(b"\x89PNG", "image/png")))
    device = await opened(server.url)
    await ask(device, turn)
    url = server.ask("/seen")["messages"][0]["content"][1]["image_url"]["url"]
    assert url == "data:image/png;base64,iVBORw=="
    assert sum((await device.render(Render(device=1, turns=(turn,)))).counts) > 1000


async def test_rendered_counts_are_upper_bounds(opened: Opener, server: Running) -> None:
    device = await opened(server.url)
    turns = (system("Be brief."), user("Where is ä b c d e f g ! ? 漢字"), assistant("", ToolCall("look", {"at": "x"})))
    rendered = await device.render(Render(device=1, turns=turns, tools=(LOOK,)))
    assert len(rendered.counts) == len(turns) + 2
    finished, _ = await ask(device, *turns[:2])
    assert finished.prompt_tokens <= sum(rendered.counts[:3])
    alone = await device.render(Render(device=1, turns=turns[:1], tools=(LOOK,)))
    assert alone.counts[:2] == rendered.counts[:2]


REFUSED: list[tuple[str, type[SyscallError], str]] = [
    ("429", TryAgain, r"429: Rate limit reached; try again in 7 s"),
    ("503", TryAgain, r"503: overloaded; try again later"),
    ("500", IOFailed, r"500\): CUDA error"),
    ("400", Invalid, r"temperature is not supported"),
    ("redirect", NotFound, r"redirection"),
    ("html", IOFailed, r"page of HTML.*ends in /v1"),
    ("html502", IOFailed, r"502\) and a page of HTML"),
    ("json", IOFailed, r"application/json.*not as an OpenAI"),
    ("garbage", IOFailed, r"something else than events"),
    ("not-events", IOFailed, r"in mid-answer"),
    ("midclose", IOFailed, r"in mid-answer"),
    ("no-finish", IOFailed, r"in mid-answer"),
    ("error-event", IOFailed, r"engine died"),
    ("filter", IOFailed, r"content_filter"),
]


@pytest.mark.parametrize(("fault", "kind", "said"), REFUSED)
async def test_what_goes_wrong_is_one_sentence(
    opened: Opener, server: Running, fault: str, kind: type[SyscallError], said: str
) -> None:
    device = await opened(server.url)
    with pytest.raises(kind, match=said) as refused:
        await ask(device, user(f"fault: {fault}"))
    assert "\n" not in refused.value.message
    assert (await ask(device, user("say: still here")))[1] == "still here"


@pytest.mark.parametrize("fault", ["bytewise", "crlf", "no-done", "no-usage"])
async def test_odd_but_whole_streams_are_understood(opened: Opener, server: Running, fault: str) -> None:
    finished, streamed = await ask(await opened(server.url), user(f"fault: {fault}"))
    assert finished.text == streamed != ""
    assert finished.finish == "stop"
    assert finished.generated_tokens >= len(finished.text.split())
    assert finished.prompt_tokens > 0


async def test_a_conversation_beyond_the_server_s_window_is_ewindow_with_its_numbers(
    opened: Opener, server: Running
) -> None:
    with pytest.raises(OverWindow, match=f"maximum context length is {WINDOW_TOKENS}"):
        await ask(await opened(server.url), user("word " * 3000))


@pytest.mark.parametrize(
    "call",
    [
        Generate(device=1, sampling=Sampling(5), prompt=(1, 2)),
        Generate(device=1, sampling=Sampling(0), turns=(user("x"),)),
        Generate(device=1, sampling=Sampling(5), turns=(user("x"),), generated=(1,)),
    ],
)
async def test_what_it_cannot_do_is_refused(opened: Opener, server: Running, call: Generate) -> None:
    device = await opened(server.url)
    with pytest.raises(Invalid):
        await device.generate(call, lambda tokens: None)
    with pytest.raises(NoSyscall):
        await device.embed(None)  # type: ignore[arg-type]


async def test_cancelling_closes_the_connection_and_frees_the_slot(opened: Opener, server: Running) -> None:
    device = await opened(server.url, slots="1")
    before = server.ask("/stats")
    async with trio.open_nursery() as nursery:
        begun = trio.Event()
        call = Generate(device=1, sampling=Sampling(50), turns=(user("slow: once upon a time"),))
        nursery.start_soon(device.generate, call, lambda tokens: begun.set())
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert (await ask(device, user("say: next")))[1] == "next"
    with trio.fail_after(20):
        while (now := await trio.to_thread.run_sync(server.ask, "/stats"))["left"] == before["left"]:
            await trio.lowlevel.checkpoint()
    assert now["running"] == before["running"]


async def test_silence_is_etime(opened: Opener, server: Running) -> None:
    device = await opened(server.url, silence_s="0.3")
    with pytest.raises(TimedOut, match="silence_s"):
        await ask(device, user("slow: hm"))


async def test_many_at_once(opened: Opener, server: Running) -> None:
    device = await opened(server.url, slots="4")
    found: dict[int, str] = {}

    async def one(n: int) -> None:
        found[n] = (await ask(device, user(f"say: number {n}")))[1]

    async with trio.open_nursery() as nursery:
        for n in range(24):
            nursery.start_soon(one, n)
    assert found == {n: f"number {n}" for n in range(24)}


async def test_the_key_is_read_from_a_file_or_a_variable_and_never_shown(
    opened: Opener, locked: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    monkeypatch.setenv("SOME_KEY", KEY)
    for how in ({"credential_file": str(tmp_path / "key")}, {"credential_env": "SOME_KEY"}):
        device = await opened(locked.url, remote_name="large", **how)
        assert (await ask(device, user("say: hi")))[1] == "hi"
        assert KEY not in repr(device.opened)


async def test_models_are_listed_when_one_must_be_chosen(opened: Opener, locked: Running, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    key = {"credential_file": str(tmp_path / "key")}
    with pytest.raises(NotFound, match="remote_name, one of small, large"):
        await opened(locked.url, **key)
    with pytest.raises(NotFound, match="no model 'huge'; it lists small, large"):
        await opened(locked.url, remote_name="huge", **key)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({}, PermissionDenied, "401: Incorrect API key.*credential_file"),
        ({"credential_file": "/nowhere/key"}, NotFound, "/nowhere/key is no file"),
        ({"credential_env": "NO_SUCH_VARIABLE"}, Invalid, "NO_SUCH_VARIABLE holds no key"),
        ({"credential_env": "X", "credential_file": "y"}, Invalid, "not both"),
        ({"slots": "0"}, Invalid, "slots is at least 1"),
        ({"slots": "many"}, Invalid, "slots"),
        ({"colour": "red"}, Invalid, "colour"),
        ({"limit_field": "tokens"}, Invalid, "limit_field"),
    ],
)
async def test_bad_options_are_refused(
    opened: Opener, locked: Running, options: dict[str, str], kind: type[SyscallError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        await opened(locked.url, **options)


async def test_origins_that_are_no_server_are_named(opened: Opener, server: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    bad: list[tuple[str, Any, str]] = [
        (f"http://127.0.0.1:{port}/v1", TryAgain, "nothing answers at.*start the server"),
        (f"{server.root}/html", IOFailed, "page of HTML"),
        (f"{server.root}/nowhere", NotFound, "404.*ends in /v1"),
        (f"{server.root}:bad/v1", Invalid, "no URL"),
        ("ftp://127.0.0.1/v1", Invalid, "no http"),
        ("http://me:secret@127.0.0.1/v1", Invalid, "password"),
        ("http://", Invalid, "no http"),
    ]
    for origin, kind, said in bad:
        with pytest.raises(kind, match=said) as refused:
            await opened(origin)
        assert "secret" not in str(refused.value)


async def test_a_server_without_a_list_is_used_by_name(opened: Opener, server: Running) -> None:
    device = await opened(f"{server.root}/nowhere", remote_name="chain-1")
    assert device.opened.detail["window"].startswith("assumed")
    with pytest.raises(NotFound, match="remote_name"):
        await ask(device, user("say: hi"))


async def test_texts_are_scored_where_the_server_echoes(opened: Opener, server: Running) -> None:
    device = await opened(server.url, echo="true")
    assert "score" in device.opened.can
    scored = await device.score(
        Score(device=1, prompt_text="in the quiet", texts=(" harbour", " harbour lies", " cat"))
    )
    told = [[(token.text, token.logprob, token.greedy) for token in each] for each in scored.scores]
    assert told == [
        [(" harbour", -3.0, True)],
        [(" harbour", -3.0, True), (" lies", -4.0, True)],
        [(" cat", -3.0, False)],
    ]
    assert scored.prompt_tokens == 5 + 6 + 5  # with the one token that the API makes one ask for
    seen = server.ask("/seen")
    assert (seen["echo"], seen["logprobs"], seen["max_tokens"]) == (True, 1, 1)
    with pytest.raises(OverWindow, match="maximum context length"):
        await device.score(Score(device=1, prompt_text="far too long", texts=("x",)))


async def test_a_server_that_cannot_score_says_so(opened: Opener, server: Running) -> None:
    with pytest.raises(NoSyscall, match="add the option echo=true"):
        await (await opened(server.url)).score(Score(device=1, prompt_text="a", texts=("b",)))
    device = await opened(server.url, echo="true")
    with pytest.raises(NoSyscall, match="does not tell the log-probabilities"):
        await device.score(Score(device=1, prompt_text="no-echo", texts=("b",)))
    with pytest.raises(NoSyscall, match="neither ids nor turns"):
        await device.score(Score(device=1, prompt=(1,), continuations=((2,),)))
    with pytest.raises(Invalid, match="at least a character"):
        await device.score(Score(device=1, prompt_text="", texts=("b",)))

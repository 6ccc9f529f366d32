"""The shipped programs against a scripted kernel: chat, ask, crew, and the loop they share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syscalls.calls.context import Appended, Passage, Recalled
from syscalls.calls.device import ToolAnswer
from syscalls.calls.message import Message
from syscalls.calls.process import Exit, Nothing, Spawned
from syscalls.errors import NotFound, OverQuota
from syscalls.turns import ToolCall
from tests.fakekernel import FakeKernel, in_process, opened, said
from userland.programs.ask import Answered, Asked, Source
from userland.programs.crew import Report
from userland.sdk.encoding import decode, encode

CHAT = "userland.programs.chat:chat"
ASK = "userland.programs.ask:ask"
CREW = "userland.programs.crew:crew"


def script(*answers: Any, **more: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    """The calls every program makes; the model says `answers` one by one."""
    spoken: Iterator[Any] = iter(answers)
    versions = iter(range(1, 1000))
    return {
        "context__open": opened,
        "context__append": lambda args: Appended(version=next(versions)),
        "context__generate": lambda args: next(spoken),
        "context__close": lambda args: Nothing(),
        "context__fork": opened,
        **more,
    }


def calls(name: str, **arguments: str) -> Any:
    return said(calls=(ToolCall(name, dict(arguments)),))


def lines(*typed: str | None) -> Callable[[Any], Any]:
    waiting = iter(typed)
    return lambda args: Message(sender=1, body=encode(next(waiting), what=""), topic="stdin")


def told(kernel: FakeKernel) -> list[str]:
    """The tool turns that were appended."""
    return [turn.text for args in kernel.named("context.append") for turn in args.turns if turn.role == "tool"]


async def test_chat_streams_uses_tools_and_ends_with_the_input() -> None:
    replies = script(
        calls("calculate", expression="6*7"),
        said("The result ", "is 42."),
        said("Bye."),
        message__receive=lines("what is 6*7?", "", "bye", None),
        device__call=lambda args: ToolAnswer(value=encode("42", what=""), text="42"),
    )
    async with in_process(**replies) as kernel:
        assert await kernel.run(CHAT, "diary", quiet=True) == {"turns": 2, "tokens": 33}
        assert kernel.printed() == "The result is 42.  [calculate]\nBye.\n"
        assert [args.name for args in kernel.named("context.open")] == ["diary", "memory"]
        assert told(kernel) == ["42"]
        assert kernel.named("device.call")[0].method == "calculate"


async def test_quit_ends_a_chat() -> None:
    async with in_process(**script(message__receive=lines("/quit"))) as kernel:
        assert (await kernel.run(CHAT))["turns"] == 0
        assert "4096 tokens of window" in kernel.printed()


@pytest.mark.parametrize(
    ("call", "told_as"),
    [
        (calls("calculate", expression="1/0"), "error: no calculator today"),
        (calls("calculate", wrong="1/0"), "error: calculate: missing a required argument: 'expression'"),
        (calls("fly"), "error: there is no tool fly; there are calculate, lookup, recall, remember, answer"),
        (calls("remember", text="the door is open"), "stored"),
        (calls("answer", text="yes"), "delivered"),
        (calls("recall", query="x"), "nothing found"),
    ],
)
async def test_what_tools_answer_becomes_a_tool_turn(call: Any, told_as: str) -> None:
    def broken(args: Any) -> Any:
        raise NotFound("no calculator today")

    replies = script(
        call,
        said("Well."),
        message__receive=lines("go", None),
        device__call=broken,
        context__recall=lambda args: Recalled(passages=()),
    )
    async with in_process(**replies) as kernel:
        await kernel.run(CHAT, quiet=True)
        assert told(kernel)[-1] == told_as


async def test_a_model_that_never_stops_calling_is_stopped() -> None:
    endless = script(message__receive=lines("go", None))
    endless["context__generate"] = lambda args: calls("answer", text="again")
    async with in_process(**endless) as kernel:
        await kernel.run(CHAT, quiet=True)
        assert len(kernel.named("context.generate")) == 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "moraines.md").write_text("Moraines are walls of rubble that the tongue pushed ahead of itself. " * 20)
    (tmp_path / "noise.bin").write_bytes(b"\0" * 10)
    return tmp_path


FOUND = Passage(page="a" * 64, text="Moraines are walls of rubble.", source="moraines.md#1", score=0.9)


async def test_ask_reads_recalls_and_names_its_sources(folder: Path) -> None:
    replies = script(
        calls("recall", query="moraines"),
        said("Walls of rubble."),
        context__recall=lambda args: Recalled(passages=(FOUND,), faults=1),
    )
    async with in_process(**replies) as kernel:
        asked = decode(encode(await kernel.run(ASK, "What are moraines?", str(folder)), what=""), Asked)
        assert asked.answers == (
            Answered(
                question="What are moraines?",
                answer="Walls of rubble.",
                sources=(Source("a" * 64, "moraines.md#1", "Moraines are walls of rubble."),),
                recalled=True,
                tokens=21,
                faults=1,
                finish="stop",
            ),
        )
        assert (asked.files, asked.skipped) == (
            1,
            ("skipped noise.bin: binary, not text: convert it, or install a package that parses it",),
        )
        read_in = kernel.named("context.append")[0]
        assert read_in.resident is False and len(read_in.turns) == asked.passages == 2
        assert [turn.source for turn in read_in.turns] == ["moraines.md#1", "moraines.md#2"]
        assert kernel.named("context.recall")[0].page_in is True
        assert told(kernel) == []  # the kernel has shown the page itself
        assert "from moraines.md#1 (page aaaaaaaaaaaa)" in kernel.printed()


async def test_ask_says_when_the_model_did_not_look(folder: Path) -> None:
    async with in_process(**script(said("I guess."), said("Again."))) as kernel:
        asked = await kernel.run(ASK, "What are moraines?", str(folder), also=["And eskers?"])
        assert [answer["recalled"] for answer in asked["answers"]] == [False, False]
        assert "without looking into the documents" in kernel.printed()


async def test_ask_can_look_first_and_a_resident_page_is_repeated(folder: Path) -> None:
    replies = script(said("Rubble."), context__recall=lambda args: Recalled(passages=(FOUND,), faults=0))
    async with in_process(**replies) as kernel:
        asked = await kernel.run(ASK, "What are moraines?", str(folder), first=True)
        assert asked["answers"][0]["recalled"] is True
        assert told(kernel) == ["Moraines are walls of rubble."]


async def test_ask_needs_a_folder_with_something_in_it(tmp_path: Path) -> None:
    async with in_process(**script()) as kernel:
        with pytest.raises(NotFound, match=r"gone cannot be read .*: grant it with --allow 'file:.*/gone/\*\* read'"):
            await kernel.run(ASK, "Why?", str(tmp_path / "gone"))
        with pytest.raises(NotFound, match="holds no document"):
            await kernel.run(ASK, "Why?", str(tmp_path))


async def test_crew_counts_what_came_back_and_shows_what_did_not(folder: Path) -> None:
    answered = Answered("Q1", "A1", (), True, 21, 1, "stop")
    exits = {
        51: Exit(pid=51, status="done", value=encode(Asked((answered,), 1, 3, (), "sim"), what=""), tokens=21),
        52: Exit(pid=52, status="over_quota", error="EQUOTA: too dear", tokens=7),
    }
    pids = {"Q1": 51, "Q2": 52}

    def spawn(args: Any) -> Any:
        question = decode(args.args)[0]
        if question not in pids:
            raise OverQuota("no room for another process")
        return Spawned(pid=pids[question])

    async with in_process(process__spawn=spawn, process__wait=lambda args: exits[args.pid]) as kernel:
        value = await kernel.run(CREW, str(folder), ["Q1", "Q2", "Q3"], tokens=500)
        report = decode(encode(value, what=""), Report)
        assert [share.status for share in report.shares] == ["done", "over_quota", "not started"]
        assert (report.done, report.tokens) == (1, 28)
        assert report.shares[0].answers == (answered,)
        assert all(args.budget.tokens == 500 and args.program == "ask" for args in kernel.named("process.spawn"))
        assert "1 of 3 answered, 28 tokens" in kernel.printed()
        assert "EQUOTA: too dear" in kernel.printed()

"""The worker against a real peer: programs run, print, fail, are cancelled, and tools are called."""

import logging
import sys as python
from pathlib import Path
from typing import Any

import pytest
import trio

from kernos import Sys, program, tool, user
from syscalls import worker
from syscalls.calls.clock import Time
from syscalls.calls.device import ToolAnswer
from syscalls.calls.process import Exit, Spawned
from syscalls.errors import Canceled, Invalid, IOFailed, NotFound, OverQuota, PermissionDenied
from syscalls.signals import Signal
from tests.fakekernel import CHANNEL, PID, FakeKernel, Streamed, in_process, opened, said
from userland.printing import Output
from userland.sdk.child import ChildFailed, Terminated
from userland.sdk.encoding import encode

HERE = __name__


@program
async def greets(sys: Sys, name: str = "world") -> str:
    """Greets."""
    chat = await sys.open()
    await chat.append(user(f"Say hello to {name}."))
    async for text in (answer := chat.generate()):
        print(text, end="")
    return (await answer).text


async def test_a_program_streams_an_answer_and_returns() -> None:
    from syscalls.calls.context import Appended

    async with in_process(
        context__open=opened,
        context__append=lambda args: Appended(version=1),
        context__generate=lambda args: said("Hello, ", "Ada."),
    ) as kernel:
        assert await kernel.run(f"{HERE}:greets", "Ada") == "Hello, Ada."
        assert kernel.printed() == "Hello, Ada."
        assert kernel.named("context.append")[0].turns == (user("Say hello to Ada."),)


@program
async def prints(sys: Sys) -> None:
    print("one")
    python.stderr.write("two\n")
    logging.getLogger("x").warning("three")
    await sys.now()
    print("four", end="")


async def test_prints_come_in_order_before_later_calls_and_before_the_reply() -> None:
    async with in_process(time__now=lambda args: Time(monotonic_s=1, unix_s=2)) as kernel:
        assert await kernel.run(f"{HERE}:prints") is None
        spoken = [(name, getattr(args, "stream", ""), getattr(args, "text", "")) for name, args in kernel.calls]
        assert spoken == [
            ("process.output", "stdout", "one\n"),
            ("process.output", "stderr", "two\n"),
            ("process.output", "log", "WARNING x: three\n"),
            ("time.now", "", ""),
            ("process.output", "stdout", "four"),
        ]


@program
async def chatters(sys: Sys, lines: int) -> None:
    for number in range(lines):
        print(f"line {number} é")


async def test_much_print_without_a_yield_arrives_whole_up_to_the_bound() -> None:
    async with in_process() as kernel:
        await kernel.run(f"{HERE}:chatters", 50_000)
        assert kernel.printed().splitlines() == [f"line {number} é" for number in range(50_000)]


async def test_beyond_the_bound_the_oldest_goes_and_a_line_says_so() -> None:
    async with in_process() as kernel:
        output = Output(kernel.link, CHANNEL, unsent_chars_max=20_000)
        for number in range(10_000):
            output.write("stdout", f"{number}\n")
        assert output._chars <= 20_000
        with pytest.MonkeyPatch.context() as patch:
            sent: list[tuple[str, str]] = []
            patch.setattr(output, "_send", lambda stream, text: sent.append((stream, text)))
            output.push()
        assert sent[0][0] == "stderr" and "characters were dropped here" in sent[0][1]
        assert sent[-1][1].endswith("9999\n")


@program
async def raises(sys: Sys) -> None:
    raise RuntimeError("on purpose")


@program
async def refused(sys: Sys) -> None:
    raise OverQuota("no more tokens")


@program
async def leaves(sys: Sys, how: str) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        if how == "well":
            python.exit(0)
        if how == "badly":
            python.exit("gave up")
        raise KeyboardInterrupt


@program
async def returns(sys: Sys, what: str) -> Any:
    return {"path": Path("/x"), "set": object(), "text": "\ud800", "int": 1 << 80}[what]


async def test_an_exception_is_eio_with_its_type_and_its_traceback_is_printed() -> None:
    async with in_process() as kernel:
        with pytest.raises(IOFailed, match="RuntimeError: on purpose"):
            await kernel.run(f"{HERE}:raises")
        assert 'raise RuntimeError("on purpose")' in kernel.printed("stderr")
        assert "serving.py" not in kernel.printed("stderr")


async def test_an_error_of_a_call_keeps_its_errno() -> None:
    async with in_process() as kernel:
        with pytest.raises(OverQuota, match="no more tokens"):
            await kernel.run(f"{HERE}:refused")


async def test_a_program_that_leaves_ends_and_the_worker_goes_on() -> None:
    async with in_process() as kernel:
        assert await kernel.run(f"{HERE}:leaves", "well") is None
        with pytest.raises(IOFailed, match="SystemExit: gave up"):
            await kernel.run(f"{HERE}:leaves", "badly")
        assert kernel.printed("stderr") == "gave up\n"
        with pytest.raises(IOFailed, match="KeyboardInterrupt"):
            await kernel.run(f"{HERE}:leaves", "interrupted")
        assert await kernel.run(f"{HERE}:returns", "path") == "/x"


@pytest.mark.parametrize("what", ["set", "text", "int"])
async def test_a_value_that_cannot_be_encoded_is_named(what: str) -> None:
    async with in_process() as kernel:
        with pytest.raises(Invalid, match=r"the program returned a value of type \w+, which cannot cross the ABI"):
            await kernel.run(f"{HERE}:returns", what)


@program
async def tidies(sys: Sys) -> None:
    try:
        await trio.sleep_forever()
    finally:
        print("tidied")


@program
async def stubborn(sys: Sys) -> str:
    with trio.CancelScope(shield=True):
        await sys.now()
    return "done all the same"


async def test_term_cancels_the_program_which_can_tidy_up() -> None:
    async with in_process() as kernel:
        ticket = kernel.begin(f"{HERE}:tidies")
        await trio.testing.wait_all_tasks_blocked()
        ticket.cancel("TERM")
        with pytest.raises(Canceled, match="terminated"):
            await ticket.outcome()
        assert kernel.printed() == "tidied\n"


async def test_a_cancelled_program_gives_up_its_calls() -> None:
    async with in_process(message__receive=lambda args: None) as kernel:
        ticket = kernel.begin(f"{HERE}:listens")
        await trio.testing.wait_all_tasks_blocked()
        ticket.cancel("TERM")
        with pytest.raises(Canceled):
            await ticket.outcome()
        await trio.testing.wait_all_tasks_blocked()
        assert len(kernel.cancelled) == 1


@program
async def listens(sys: Sys) -> str | None:
    return await sys.read_line()


@program
async def hears(sys: Sys) -> list[str]:
    heard = []
    async for name in sys.signals():
        heard.append(name)
        if name == "USR1":
            break
    return heard


async def test_signals_reach_the_program() -> None:
    async with in_process() as kernel:
        ticket = kernel.begin(f"{HERE}:hears")
        await trio.testing.wait_all_tasks_blocked()
        kernel.link.event(CHANNEL, "CHLD")
        kernel.link.event(CHANNEL + 1, "USR2")
        kernel.link.event(CHANNEL, "USR1")
        assert (await ticket.outcome()).value == encode(["CHLD", "USR1"], what="")


@program
async def parent(sys: Sys) -> list[Any]:
    child = await sys.spawn("ask", "why", kwargs={"k": 3}, name="helper")
    assert child.pid == 50 and sys.pid == PID
    await child.kill("USR1")
    outcomes: list[Any] = [await child.wait()]
    for kind in (ChildFailed, Terminated):
        try:
            await child.wait()
        except kind as failed:
            outcomes.append((type(failed).__name__, failed.exit.status))
    return outcomes


async def test_children_return_fail_or_are_terminated() -> None:
    exits = iter(
        [
            Exit(pid=50, status="done", value=encode({"a": 1}, what="")),
            Exit(pid=50, status="over_quota", error="too dear"),
            Exit(pid=50, status="terminated"),
        ]
    )
    async with in_process(
        process__spawn=lambda args: Spawned(pid=50),
        process__wait=lambda args: next(exits),
        process__kill=lambda args: Streamed([], None) if args.signal != Signal.USR1 else _nothing(),
    ) as kernel:
        assert await kernel.run(f"{HERE}:parent") == [
            {"a": 1},
            ["ChildFailed", "over_quota"],
            ["Terminated", "terminated"],
        ]
        spawn = kernel.named("process.spawn")[0]
        assert spawn.program == "ask" and spawn.args == encode(("why",), what="")


def _nothing() -> Any:
    from syscalls.calls.process import Nothing

    return Nothing()


@program
async def uses_tools(sys: Sys) -> Any:
    return await sys.tool("calculator").calculate(expression="1+1")


async def test_a_tool_is_called_by_device_and_method() -> None:
    async with in_process(device__call=lambda args: ToolAnswer(value=encode(2, what=""), text="2")) as kernel:
        assert await kernel.run(f"{HERE}:uses_tools") == 2
        call = kernel.named("device.call")[0]
        assert (call.device, call.method) == ("calculator", "calculate")


async def test_argv_is_read_by_the_signature_in_the_worker() -> None:
    from syscalls.calls.context import Appended

    async with in_process(
        context__open=opened,
        context__append=lambda args: Appended(version=1),
        context__generate=lambda args: said("Hi."),
    ) as kernel:
        assert await kernel.run(f"{HERE}:greets", __argv__=["--name", "Bob"]) == "Hi."
        assert "Bob" in kernel.named("context.append")[0].turns[0].text
        assert await kernel.run(f"{HERE}:greets", __argv__=["--help"]) is None
        assert "usage: greets [NAME]" in kernel.printed()
        with pytest.raises(Invalid, match=r"^EINVAL: usage: greets"):
            await kernel.run(f"{HERE}:greets", __argv__=["--nam", "Bob"])
        assert kernel.printed("stderr") == ""


async def test_files_are_loaded_with_their_folder(tmp_path: Path) -> None:
    (tmp_path / "friend_of_mine.py").write_text("WORD = 'from a friend'\n")
    file = tmp_path / "mine.py"
    file.write_text(
        "from kernos import Sys, program\nfrom friend_of_mine import WORD\n"
        "@program\nasync def only(sys: Sys):\n    return WORD\n"
    )
    broken = tmp_path / "broken.py"
    broken.write_text("import nowhere_to_be_found\n")
    async with in_process() as kernel:
        assert await kernel.run(f"{file}:only", file=str(file)) == "from a friend"
        assert await kernel.run(f"{file}:", file=str(file)) == "from a friend"
        assert await kernel.run(str(file), file=str(file)) == "from a friend"
        with pytest.raises(NotFound, match="has no program 'other': it has only"):
            await kernel.run(f"{file}:other", file=str(file))
        with pytest.raises(IOFailed, match="ModuleNotFoundError: No module named 'nowhere_to_be_found'"):
            await kernel.run(f"{broken}:x", file=str(broken))
        with pytest.raises(NotFound, match="is not there"):
            await kernel.run("gone:x", file=str(tmp_path / "gone.py"))
    python.path.remove(str(tmp_path))


async def test_a_missing_module_is_not_found() -> None:
    async with in_process() as kernel:
        with pytest.raises(NotFound, match="no module 'no_such_module'"):
            await kernel.run("no_such_module:x")


@tool
def double(number: int, times: int = 1) -> int:
    """Doubles a number.

    As often as asked."""
    return number << times


@tool(name="slowly")
async def other(text: str) -> str:
    """Waits, then shouts."""
    await trio.lowlevel.checkpoint()
    if text == "no":
        raise PermissionDenied("not that")
    return text.upper()


async def test_tools_are_described_and_invoked() -> None:
    async with in_process() as kernel:
        described = await kernel.link.call(worker.DESCRIBE, worker.Describe(program=f"{HERE}:*"))
        assert [(spec.name, spec.description) for spec in described.methods] == [
            ("double", "Doubles a number."),
            ("slowly", "Waits, then shouts."),
        ]
        assert described.methods[0].parameters == {
            "type": "object",
            "properties": {"number": {"type": "integer"}, "times": {"type": "integer"}},
            "required": ["number"],
        }
        assert await _invoke(kernel, "double", number=4) == 8
        assert await _invoke(kernel, "slowly", text="hey") == "HEY"
        with pytest.raises(PermissionDenied):
            await _invoke(kernel, "slowly", text="no")
        with pytest.raises(Invalid, match="number: Expected `int`"):
            await _invoke(kernel, "double", number="four")
        with pytest.raises(NotFound, match="no method 'triple'"):
            await _invoke(kernel, "triple")


async def _invoke(kernel: FakeKernel, method: str, **arguments: Any) -> Any:
    from userland.sdk.encoding import decode

    args = worker.Invoke(method=method, arguments=encode(arguments, what=""))
    return decode((await kernel.link.call(worker.INVOKE, args)).value)


@program
async def stops_listening(sys: Sys) -> str:
    chat = await sys.open()
    async with chat.generate() as answer:
        async for text in answer:
            return text
    return "never"


async def test_leaving_an_answer_early_cancels_the_generation() -> None:
    def begins(args: Any) -> Any:
        return None

    async with in_process(context__open=opened, context__generate=begins) as kernel:
        ticket = kernel.begin(f"{HERE}:stops_listening")
        await trio.testing.wait_all_tasks_blocked()
        from msgspec import Raw

        from syscalls.calls.context import Piece
        from syscalls.codec import pack

        generate = kernel.link.peer._newest_served
        kernel.link.items(generate, [Raw(pack(Piece(text="enough")))])
        assert (await ticket.outcome()).value == encode("enough", what="")
        await trio.testing.wait_all_tasks_blocked()
        assert kernel.cancelled == [generate]

"""System calls as programs make them, from inside the jail, against a real kernel."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syscalls.calls import kernel, message, process
from syscalls.codec import pack
from syscalls.errors import NoSuchProcess, TimedOut
from syscalls.link.blocking import BlockingLink
from tests.kernelproc import KernelProcess, kernel_up, spawn, trace, until, wait

SIM = """
embedding = "hash"
[models.sim]
origin = "sim:"
options = { tokens_per_second = "2000" }
[bounds]
mailbox_messages_max = 3
"""
PROGRAM = '''
from kernos import Sys, program, user
from syscalls.errors import SyscallError
from syscalls.calls.process import Budget


NAMES = ("nothing", "fails", "nothing")


def refused(error):
    return [type(error).__name__, error.errno.name, error.message]


async def attempt(awaitable):
    try:
        return await awaitable
    except SyscallError as error:
        return refused(error)


@program
async def greedy(sys: Sys) -> list:
    """Asks for what it was not given."""
    return [
        await attempt(sys.call("process.kill", pid=1, signal=15)),
        await attempt(sys.call("kernel.shutdown")),
        await attempt(sys.call_tool("calculator", "calculate", expression="1")),
        await attempt(sys.call("process.spawn", program="chat")),
        await attempt(sys.call("model.add", name="x", origin="/")),
    ]


@program
async def parent(sys: Sys, rights: list[str]) -> list:
    """Spawns itself with rights of its choosing."""
    return [await attempt(sys.call("process.spawn", program=FILE + ":nothing", rights=tuple(rights)))]


@program
async def nothing(sys: Sys) -> str:
    return "nothing"


@program
async def family(sys: Sys) -> list:
    """Children, waited for in any order; then nobody is left."""
    pids = [(await sys.call("process.spawn", program=FILE + ":" + name)).pid for name in NAMES]
    exits = [await sys.call("process.wait") for _ in pids]
    left = await attempt(sys.call("process.wait"))
    return [sorted(e.pid for e in exits) == pids, sorted(e.status for e in exits), left]


@program
async def fails(sys: Sys) -> None:
    raise RuntimeError("as it should")


@program
async def unencodable(sys: Sys) -> object:
    return lambda: 1


@program
async def talker(sys: Sys, rounds: int) -> int:
    chat = await sys.open()
    for turn in range(rounds):
        await sys.note("talking", done=turn, total=rounds)
        await chat.append(user("say something"))
        async for _ in chat.generate(max_tokens=50):
            pass
    return rounds


@program
async def clipped(sys: Sys) -> list:
    chat = await sys.open()
    await chat.append(user("x"))
    first = await attempt(chat.generate(max_tokens=5000))
    answer = await chat.generate(max_tokens=5000, clip=True)
    return [first, answer.finish, answer.usage.generated_tokens]


@program
async def sleeper(sys: Sys) -> str:
    await sys.note("asleep")
    try:
        await sys.sleep(1000)
    finally:
        print("tidied up")
    return "never"


@program
async def counter(sys: Sys) -> str:
    for n in range(100000):
        await sys.note("counting", done=n)
        await sys.sleep(0.005)
    return "done"


@program
async def echo(sys: Sys) -> list:
    heard = []
    while True:
        letter = await sys.receive()
        if letter.body is None:
            return heard
        heard.append([letter.topic, letter.body])


@program
async def deaf(sys: Sys) -> None:
    await sys.note("deaf")
    await sys.sleep(1000)


@program
async def calculates(sys: Sys) -> list:
    good = await sys.tool("calculator").calculate(expression="6 * 7")
    bad = await attempt(sys.call_tool("calculator", "calculate", expression="__import__('os')"))
    none = await attempt(sys.call_tool("calculator", "nonsense"))
    return [good, bad, none]


@program
async def embeds(sys: Sys) -> list:
    mine = await attempt(sys.embed("boats", "bells"))
    named = await attempt(sys.embed("boats", model_name="hash"))
    other = await attempt(sys.embed("boats", model_name="sim"))
    return [len(mine), mine[0] == named[0], other[:2]]


@program
async def prints(sys: Sys) -> None:
    import sys as python
    print("out", 1)
    print("err", file=python.stderr)
    print("out", 2)
'''
BASIC = ("model:*", "context:own", "process:self", "process:children")


@pytest.fixture(scope="module")
def up() -> Iterator[KernelProcess]:
    with kernel_up(config=SIM) as up:
        yield up


@pytest.fixture
def link(up: KernelProcess) -> Iterator[BlockingLink]:
    with up.link() as link:
        yield link


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("programs") / "calls.py"
    path.write_text(PROGRAM + f"\nFILE = {str(path)!r}\n")
    return str(path)


def run(link: BlockingLink, file: str, name: str, *args: Any, **options: Any) -> Any:
    options.setdefault("rights", BASIC)
    ended = wait(link, spawn(link, f"{file}:{name}", *args, **options))
    assert ended.status == "done", ended.error
    return msgspec.msgpack.decode(ended.value)


def test_what_was_not_granted_is_refused_by_name_and_shown(link: BlockingLink, file: str) -> None:
    answers = run(link, file, "greedy")
    assert {(cls, errno) for cls, errno, _ in answers} == {("PermissionDenied", "EPERM")}
    missing = ["process:1 kill", "kernel:power shutdown", "tool:calculator.calculate call", "program:chat spawn"]
    for right, (_, _, sentence) in zip([*missing, "kernel:models add"], answers, strict=True):
        assert f"--allow '{right}'" in sentence
    denied = [r for r in trace(link) if r.errno == "EPERM"]
    assert len(denied) == 5, "every refusal is in the trace"


@pytest.mark.parametrize(
    "asked", [["**"], ["model:*", "process:*"], ["file:/** read"], ["context:own", "kernel:power"]]
)
def test_a_child_cannot_hold_more_than_its_parent(link: BlockingLink, file: str, asked: list[str]) -> None:
    ((cls, errno, sentence),) = run(
        link, file, "parent", asked, rights=(*BASIC, f"program:{file}:* spawn", f"file:{Path(file).parent}/** read")
    )
    assert (cls, errno) == ("PermissionDenied", "EPERM")
    assert "a child cannot have" in sentence


def test_children_are_waited_for_and_reaped(link: BlockingLink, file: str) -> None:
    whole, statuses, left = run(link, file, "family", rights=(*BASIC, f"program:{file}:* spawn"))
    assert whole
    assert statuses == ["done", "done", "failed"]
    assert left[1] == "ESRCH"


def test_a_program_that_raises_has_failed_with_its_words(link: BlockingLink, file: str) -> None:
    pid = spawn(link, f"{file}:fails", rights=BASIC)
    ended = wait(link, pid)
    assert (ended.status, ended.code) == ("failed", 1)
    assert "as it should" in ended.error
    printed = "".join(line.text for line in link.stream(process.LOGS, process.Logs(pid=pid)))
    assert "Traceback" in printed


def test_what_cannot_be_returned_is_said(link: BlockingLink, file: str) -> None:
    ended = wait(link, spawn(link, f"{file}:unencodable", rights=BASIC))
    assert ended.status == "failed"
    assert "cannot cross" in ended.error


def test_a_token_budget_stops_the_program_and_no_token_beyond_it(link: BlockingLink, file: str) -> None:
    pid = spawn(link, f"{file}:talker", 100, rights=BASIC, budget=process.Budget(tokens=700))
    ended = wait(link, pid)
    assert ended.status == "over_quota"
    assert 0 < ended.tokens <= 700
    assert "700" in ended.error


def test_clip_takes_what_is_left(link: BlockingLink, file: str) -> None:
    first, finish, generated = run(link, file, "clipped", budget=process.Budget(tokens=300))
    assert first[1] == "EQUOTA"
    assert finish in ("length", "stop")
    assert 0 < generated <= 300


def test_wall_time_ends_it_in_order(link: BlockingLink, file: str) -> None:
    pid = spawn(link, f"{file}:sleeper", rights=BASIC, budget=process.Budget(wall_s=0.7))
    ended = wait(link, pid)
    assert (ended.status, ended.code) == ("timed_out", 124)
    assert "tidied up" in "".join(line.text for line in link.stream(process.LOGS, process.Logs(pid=pid)))


def test_stop_holds_a_process_and_cont_lets_it_go(link: BlockingLink, file: str) -> None:
    pid = spawn(link, f"{file}:counter", rights=BASIC)
    until(lambda: _row(link, pid).done > 3)
    link.call(process.KILL, process.Kill(pid=pid, signal=19))
    before = _row(link, pid)
    assert before.state == "stopped"
    for _ in range(30):
        link.call(kernel.INFO, kernel.Info())
    assert _row(link, pid).done <= before.done + 1
    link.call(process.KILL, process.Kill(pid=pid, signal=18))
    until(lambda: _row(link, pid).done > before.done + 3)
    link.call(process.KILL, process.Kill(pid=pid, signal=9))
    assert wait(link, pid).status == "killed"


def test_mailboxes_are_ordered_and_bounded(link: BlockingLink, file: str) -> None:
    pid = spawn(link, f"{file}:echo", rights=BASIC)
    for n in range(10):
        link.call(message.SEND, message.Send(pid=pid, body=msgspec.Raw(pack(n)), topic="t", timeout_s=20))
    link.call(message.SEND, message.Send(pid=pid, body=msgspec.Raw(pack(None))))
    assert msgspec.msgpack.decode(wait(link, pid).value) == [["t", n] for n in range(10)]
    with pytest.raises(NoSuchProcess):
        link.call(message.SEND, message.Send(pid=pid, body=msgspec.Raw(pack(1))))
    deaf = spawn(link, f"{file}:deaf", rights=BASIC)
    with pytest.raises(TimedOut, match="3 messages"):
        for n in range(4):
            link.call(message.SEND, message.Send(pid=deaf, body=msgspec.Raw(pack(n)), timeout_s=0.2))
    link.call(process.KILL, process.Kill(pid=deaf, signal=9))
    wait(link, deaf)


def test_tools_run_in_a_worker_of_their_own(link: BlockingLink, file: str) -> None:
    good, bad, none = run(link, file, "calculates", rights=(*BASIC, "tool:calculator.* call"))
    assert good in (42, "42")
    assert bad[1] in ("EINVAL", "EIO")
    assert none[1] == "ENOENT"
    assert "calculate" in none[2]
    record = next(r for r in trace(link) if r.name == "device.call" and not r.errno)
    assert "sandboxed worker" in record.result


def test_embedding_is_a_right_on_the_model_that_embeds(link: BlockingLink, file: str) -> None:
    assert run(link, file, "embeds", rights=(*BASIC, "model:hash embed")) == [2, True, ["NotFound", "ENOENT"]]
    refused = run(link, file, "embeds", rights=("model:sim", "process:self"))
    assert refused[:2] == [3, True], "a right on the model that generates is none on the one that embeds"


def test_what_is_printed_comes_in_order(link: BlockingLink, file: str) -> None:
    pid = spawn(link, f"{file}:prints", rights=BASIC)
    wait(link, pid)
    lines = list(link.stream(process.LOGS, process.Logs(pid=pid)))
    text = "".join(line.text for line in lines if line.stream == "stdout")
    assert text == "out 1\nout 2\n"
    assert "err" in "".join(line.text for line in lines if line.stream == "stderr")


def _row(link: BlockingLink, pid: int) -> process.ProcessInfo:
    table = link.call(process.LIST, process.ListProcesses(all=True)).processes
    row: process.ProcessInfo = next(p for p in table if p.pid == pid)
    return row

"""`kernos run` against a scripted kernel: what it spawns, shows, sends and how it ends."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from syscalls.calls.process import Exit, LogLine, Nothing, Spawned
from syscalls.codec import pack
from syscalls.errors import OverQuota
from tests.scriptedkernel import ScriptedKernel, Streamed, scripted_kernel
from userland.cli.main import execute
from userland.cli.session import Session


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedKernel]:
    monkeypatch.setenv("KERNOS_SOCKET", str(tmp_path / "k.sock"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.py").write_text("")
    with scripted_kernel(
        tmp_path / "k.sock",
        process__spawn=lambda args: Spawned(pid=7),
        process__logs=lambda args: Streamed([], Nothing()),
        process__wait=lambda args: Exit(pid=7, status="done"),
        process__kill=lambda args: Nothing(),
        message__send=lambda args: Nothing(),
    ) as kernel:
        yield kernel


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    session = Session()
    session.typed = False
    code = execute(["run", *words], session)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def printed(*texts: str) -> Streamed:
    return Streamed([LogLine(at_s=0.1, pid=7, stream="stdout", text=text) for text in texts], Nothing())


def returned(value: Any, **more: Any) -> Exit:
    return Exit(pid=7, status="done", value=Raw(pack(value)), **more)


def test_options_before_the_program_are_ours_and_the_rest_is_its_own(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = (
        "--budget-tokens",
        "900",
        "--timeout",
        "2.5",
        "--nice",
        "3",
        "--name",
        "bob",
        "--model",
        "m",
        "--allow",
        "tool:x.*",
    )
    assert run(capsys, *ours, "p.py", "--model", "theirs", "-o", "x")[0] == 0
    (args,) = kernel.named("process.spawn")
    assert (args.budget.tokens, args.budget.wall_s, args.nice, args.name, args.model) == (900, 2.5, 3, "bob", "m")
    assert "tool:x.*" in args.rights and args.detach is False
    assert msgspec.msgpack.decode(args.kwargs) == {"__argv__": ["--model", "theirs", "-o", "x"]}


FILES = '@program(tier="files")\nasync def main(sys: Sys) -> None: ...\n'
BOTH = FILES + '@kernos.program(shared=True, tier="threads")\nasync def other(sys: Sys) -> None: ...\n'


@pytest.mark.parametrize(
    ("source", "words", "tier"),
    [
        ("", ["p.py"], "pure"),
        (FILES, ["p.py"], "files"),
        (FILES, ["--tier", "pure", "p.py"], "pure"),
        (FILES.replace('tier="files"', ""), ["--tier", "threads", "p.py"], "threads"),
        (BOTH, ["p.py"], "files"),
        (BOTH, ["p.py:other"], "threads"),
        (BOTH.replace("main", "one"), ["p.py"], "pure"),
        ("# tier\n@program\nasync def main(sys: Sys) -> None: ...\n", ["p.py"], "pure"),
        ("tier = (", ["p.py"], "pure"),
    ],
)
def test_a_file_says_its_tier_and_the_command_line_overrides(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str], source: str, words: list[str], tier: str
) -> None:
    Path("p.py").write_text(source)
    assert run(capsys, *words)[0] == 0
    assert kernel.named("process.spawn")[0].tier == tier


@pytest.mark.parametrize(
    ("said", "told"), [("'root'", "asks for the tier 'root'; there are pure"), ("T", "say --tier")]
)
def test_a_tier_that_is_none_or_is_worked_out_is_refused(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str], said: str, told: str
) -> None:
    Path("p.py").write_text(FILES.replace('"files"', said))
    code, _, err = run(capsys, "p.py")
    assert code == 2 and told in err and err.count("\n") == 1


def test_its_exit_code_is_ours(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.script["process.wait"] = lambda args: Exit(pid=7, status="failed", code=1, error="EIO: ValueError: no")
    assert run(capsys, "p.py") == (1, "", "kernos: ValueError: no\n")
    kernel.script["process.wait"] = lambda args: Exit(pid=7, status="timed_out", code=124, error="p was ended")
    assert run(capsys, "p.py") == (124, "", "kernos: process 7 ran out of time\n")


def test_its_usage_is_shown_as_it_is(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.script["process.wait"] = lambda args: Exit(
        pid=7, status="failed", code=2, error="EINVAL: usage: p X\nX is missing"
    )
    assert run(capsys, "p.py") == (2, "", "usage: p X\nX is missing\n")


@pytest.mark.parametrize(
    ("texts", "value", "out"),
    [
        ((), "hello", "hello\n"),
        (("hel", "lo\n"), "hello", "hello\n"),
        (("thinking\n",), "hello", "thinking\nhello\n"),
        ((), None, ""),
        ((), 42, "42\n"),
        (("table\n",), {"rows": 3}, "table\n"),
    ],
)
def test_the_value_is_shown_once(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str], texts: tuple[str, ...], value: Any, out: str
) -> None:
    kernel.script["process.logs"] = lambda args: printed(*texts)
    kernel.script["process.wait"] = lambda args: returned(value)
    assert run(capsys, "p.py") == (0, out, "")


def test_json_is_one_object_and_output_goes_to_stderr(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel.script["process.logs"] = lambda args: printed("working\n")
    kernel.script["process.wait"] = lambda args: returned({"a": [1]}, tokens=12, wall_s=0.5)
    code, out, err = run(capsys, "-o", "json", "p.py")
    assert (code, err) == (0, "working\n")
    assert json.loads(out) == {
        "pid": 7, "status": "done", "code": 0, "value": {"a": [1]}, "error": "", "tokens": 12, "wall_s": 0.5,
    }  # fmt: skip


def test_detached_it_prints_the_pid_and_leaves(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--detach", "p.py") == (0, "7\n", "")
    assert [name for name, _ in kernel.calls] == ["process.spawn"]
    assert kernel.calls[0][1].detach is True


def test_where_nothing_is_typed_the_end_of_input_is_sent(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    told = threading.Event()

    def taken(args: Any) -> Nothing:
        told.set()
        return Nothing()

    kernel.script["message.send"] = taken
    kernel.script["process.logs"] = lambda args: printed() if told.wait(10) else None
    assert run(capsys, "p.py")[0] == 0
    (sent,) = kernel.named("message.send")
    assert (sent.pid, sent.topic, msgspec.msgpack.decode(sent.body)) == (7, "stdin", None)


def test_what_is_piped_in_is_sent_line_by_line(
    kernel: ScriptedKernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.write(writing, "one\nzwei ü\nlast".encode())
    os.close(writing)
    ended = threading.Event()

    def taken(args: Any) -> Nothing:
        if msgspec.msgpack.decode(args.body) is None:
            ended.set()
        return Nothing()

    kernel.script["message.send"] = taken
    kernel.script["process.logs"] = lambda args: printed() if ended.wait(10) else None
    with open(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert execute(["run", "p.py"], Session()) == 0
    assert [msgspec.msgpack.decode(args.body) for args in kernel.named("message.send")] == [
        "one\n",
        "zwei ü\n",
        "last",
        None,
    ]


def test_ctrl_c_is_term_then_kill_and_the_code_is_130(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    signals = interrupted(kernel, Nothing)
    before = signal.getsignal(signal.SIGINT)
    assert run(capsys, "p.py")[0] == 130
    assert signals == [15, 9]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_ctrl_c_that_is_refused_is_told_and_the_next_one_is_heard(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> Nothing:
        raise OverQuota("account demo has no calls left")

    signals = interrupted(kernel, refuse)
    code, _, err = run(capsys, "p.py")
    assert (code, signals) == (130, [15, 9])
    assert err.count("process 7 was not told to end: account demo has no calls left") == 2


def interrupted(kernel: ScriptedKernel, answer: Callable[[], Nothing]) -> list[int]:
    """Two Ctrl-C while the output of process 7 is followed, each after what came of the one before: the signals that
    the kernel is asked to send, which it answers so."""
    signals: list[int] = []
    more = threading.Event()

    def killed(args: Any) -> Nothing:
        signals.append(args.signal)
        more.set()
        return answer()

    def following(args: Any) -> Streamed | None:
        for _ in range(2):
            more.clear()
            # To this thread: the caller's receive is not cut short, as it is not by one that comes just before it.
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            assert more.wait(10)
        return printed()

    kernel.script["process.kill"] = killed
    kernel.script["process.logs"] = following
    kernel.script["process.wait"] = lambda args: Exit(pid=7, status="killed", code=137)
    return signals


def test_a_running_kernel_takes_models_by_name_only(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--model", "./weights", "p.py")
    assert code == 2 and "kernos model add" in err
    assert kernel.calls == []


def test_a_job_file_may_be_followed_by_options(
    kernel: ScriptedKernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "j.toml").write_text('kind = "generate"\nprompt = "hi"\n')
    code, out, _ = run(capsys, "j.toml", "-o", "json", "--budget-tokens", "5")
    assert code == 0 and json.loads(out)["status"] == "done"
    assert kernel.named("process.spawn")[0].program == "job"
    assert kernel.named("process.spawn")[0].budget.tokens == 5


def test_no_kernel_and_detach_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KERNOS_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "p.py").write_text("")
    code, _, err = run(capsys, "--detach", str(tmp_path / "p.py"))
    assert code == 6 and "kernos up -d" in err


def test_a_kernel_that_was_named_and_is_not_there_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.py").write_text("")
    code, _, err = run(capsys, "--socket", str(tmp_path / "gone.sock"), str(tmp_path / "p.py"))
    assert code == 6 and "no kernel answers" in err

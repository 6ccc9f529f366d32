"""The console without a terminal: lines, completion, one kept link."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from syscalls.calls.model import ModelInfo, Models
from syscalls.calls.process import Processes, ProcessInfo
from tests.scriptedkernel import ScriptedKernel, scripted_kernel
from userland.cli.main import COMMANDS, execute
from userland.cli.session import Session
from userland.console.candidates import Candidates

PROCESSES = Processes(
    processes=tuple(
        ProcessInfo(pid=pid, ppid=1, principal="a", kind="program", name=name, state="ready")
        for pid, name in ((12, "ask"), (130, "chat"))
    )
)
MODELS = Models(models=(ModelInfo(ref="tiny@2", driver="torch", origin="x"),))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedKernel]:
    monkeypatch.setenv("KERNOS_SOCKET", str(tmp_path / "k.sock"))
    with scripted_kernel(
        tmp_path / "k.sock", process__list=lambda args: PROCESSES, model__list=lambda args: MODELS
    ) as kernel:
        yield kernel


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return execute(["console"], Session())


def test_lines_are_commands_over_one_link(
    kernel: ScriptedKernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "ps -q\n\n# nothing\nkernos model list -q  # pasted\n") == 0
    assert capsys.readouterr().out == "12\n130\ntiny@2\n"
    assert kernel.connections == 1


def test_a_failed_line_does_not_end_it_and_the_last_code_is_the_code(
    kernel: ScriptedKernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "bogus\nps -q\nlogs x\n") == 2
    captured = capsys.readouterr()
    assert captured.out == "12\n130\n"
    assert "there is no command 'bogus'" in captured.err


def test_exit_leaves_what_follows_unread(
    kernel: ScriptedKernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "ps -q\nexit\nps -q\n") == 0
    assert capsys.readouterr().out == "12\n130\n"


def test_open_quotes_are_told(
    kernel: ScriptedKernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, 'run "p\n') == 2
    assert "close the quotes" in capsys.readouterr().err


def test_help_lists_the_commands(
    kernel: ScriptedKernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "help\nhelp kill\n") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS if name != "console")
    assert "Send a signal to processes" in out and "--signal" in out


def test_a_kernel_that_goes_and_comes_back_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "k.sock"
    session = Session(keep=True)
    session.choose(socket=str(path))
    with scripted_kernel(path, process__list=lambda args: PROCESSES):
        assert execute(["ps", "-q"], session) == 0
    path.unlink()
    assert execute(["ps", "-q"], session) == 6
    with scripted_kernel(path, process__list=lambda args: PROCESSES):
        assert execute(["ps", "-q"], session) == 0
        session.hang_up()
    assert capsys.readouterr().out == "12\n130\n" * 2


def complete(line: str) -> list[str]:
    words = line.split()
    word = "" if line.endswith(" ") or not words else words.pop()
    return [text for text, _ in Candidates(Session()).for_word(words, word)]


def test_completion_of_commands() -> None:
    assert complete("k") == ["kill"]
    assert set(complete("help lo")) == {"logs", "log"}
    assert "console" not in complete("") and "exit" in complete("")
    assert complete("model ") == ["add", "list", "load", "score", "show", "tokenize", "unload"]


def test_completion_of_options_and_their_values() -> None:
    assert "--no-trunc" in complete("ps --")
    assert complete("ps -o ya") == ["yaml"]
    assert complete("kill -s ST") == ["STOP"]


def test_completion_of_what_the_kernel_knows(kernel: ScriptedKernel) -> None:
    assert complete("kill 1") == ["12", "130"]
    assert complete("model show ") == ["tiny"]
    assert complete("run --model ti") == ["tiny"]
    assert complete("man process.sp") == ["process.spawn", "process.spawn_many"]


def test_completion_without_a_kernel_is_less_and_never_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNOS_SOCKET", str(tmp_path / "none"))
    assert complete("kill ") == []
    assert "ask" in complete("run a")


def test_completion_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "cat.py").write_text("")
    (tmp_path / ".hidden").write_text("")
    assert complete("run zo") == ["zoo/"]
    assert complete("run zoo/c") == ["zoo/cat.py"]
    assert complete("run ask why zo") == ["zoo/"]
    assert ".hidden" not in complete("run ")

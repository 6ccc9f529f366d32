"""Commands against a scripted kernel: what they send, where they print, how they end for the shell."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syscalls.calls.process import LogLine, Nothing
from syscalls.errors import Errno, NoSuchProcess, PermissionDenied, SyscallError, syscall_error
from syscalls.signals import Signal
from tests.scriptedkernel import ScriptedKernel, Streamed, scripted_kernel
from userland.cli.failures import code_of
from userland.cli.main import COMMANDS, cli, execute
from userland.cli.session import Session

EXPECTED_CODES = {
    "EPERM": 4, "ENOENT": 3, "ESRCH": 3, "EINVAL": 2, "EBUSY": 5, "EPIPE": 6, "ETIME": 124, "EIO": 125,
    "EAGAIN": 1, "EQUOTA": 1, "ECANCELED": 1, "ENOSYS": 1, "EWINDOW": 1, "EUNKNOWN": 1, "EREPLAY": 1, "EFENCED": 1,
    "ELIMIT": 1,
}  # fmt: skip


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedKernel]:
    monkeypatch.setenv("KERNOS_SOCKET", str(tmp_path / "k.sock"))
    with scripted_kernel(tmp_path / "k.sock") as kernel:
        yield kernel


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = execute(words, Session())
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refuse(error: SyscallError) -> Nothing:
    raise error


@pytest.mark.parametrize("errno", Errno, ids=lambda errno: errno.name)
def test_each_errno_has_its_exit_code(errno: Errno) -> None:
    assert code_of(syscall_error(errno, "why")) == EXPECTED_CODES[errno.name]


def test_a_refused_call_is_one_sentence_on_stderr(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.script["process.list"] = lambda args: refuse(PermissionDenied("you may not look"))
    assert run(capsys, "ps") == (4, "", "kernos: you may not look\n")


def test_without_a_kernel_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERNOS_SOCKET", str(tmp_path / "none.sock"))
    code, out, err = run(capsys, "ps")
    assert (code, out) == (6, "")
    assert err.startswith(f"kernos: no kernel answers at {tmp_path}/none.sock") and "kernos up -d" in err


def test_a_kernel_that_hangs_up_is_a_broken_connection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "k.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        slammed = threading.Thread(target=lambda: listener.accept()[0].close())
        slammed.start()
        code, _, err = run(capsys, "ps", "--socket", path)
        slammed.join()
    assert code == 6
    assert err.startswith("kernos: the kernel")


def test_a_socket_path_that_is_too_long_is_told_with_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "ps", "--socket", "/tmp/" + "x" * 110)
    assert code == 2
    assert "at most 107 bytes, this one has 115" in err


def test_socket_option_works_before_and_after_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERNOS_SOCKET", "/nowhere")
    path = str(tmp_path / "a.sock")
    with scripted_kernel(Path(path), process__nice=lambda args: Nothing()) as kernel:
        assert run(capsys, "--socket", path, "nice", "-n", "-5", "3")[0] == 0
        assert run(capsys, "nice", "-n", "5", "3", "--socket", path)[0] == 0
    assert [args.nice for args in kernel.named("process.nice")] == [-5, 5]


def test_the_socket_of_a_config_file_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KERNOS_SOCKET", raising=False)
    config = tmp_path / "kernos.toml"
    config.write_text(f'socket = "{tmp_path}/b.sock"\n')
    with scripted_kernel(tmp_path / "b.sock", process__nice=lambda args: Nothing()):
        assert run(capsys, "nice", "-n", "1", "3", "--config", str(config))[0] == 0


@pytest.mark.parametrize("form", [["-9"], ["-KILL"], ["-s", "SIGKILL"], ["--signal", "9"]])
def test_kill_knows_every_way_to_say_kill(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    kernel.script["process.kill"] = lambda args: Nothing()
    assert run(capsys, "kill", *form, "7", "8") == (0, "", "")
    assert [(args.pid, args.signal) for args in kernel.named("process.kill")] == [(7, 9), (8, 9)]


def test_kill_goes_on_after_one_that_is_gone(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.script["process.kill"] = lambda args: refuse(NoSuchProcess("gone")) if args.pid == 7 else Nothing()
    code, out, err = run(capsys, "kill", "7", "8", "-o", "json")
    assert (code, err) == (3, "kernos: gone\n")
    assert [(told["pid"], told["sent"]) for told in json.loads(out)] == [(7, False), (8, True)]


def test_kill_refuses_an_unknown_signal_and_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "kill", "-s", "HUP", "7")
    assert code == 2 and "TERM" in err
    assert len(run(capsys, "kill", "-l")[1].splitlines()) == len(Signal)


def test_logs_go_where_the_program_wrote_them(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    pieces = [
        LogLine(at_s=0.1, pid=7, stream="stdout", text="data\n"),
        LogLine(at_s=0.2, pid=7, stream="stderr", text="oops\n"),
        LogLine(at_s=0.3, pid=7, stream="log", text="INFO x\n"),
    ]
    kernel.script["process.logs"] = lambda args: Streamed(pieces, Nothing())
    assert run(capsys, "logs", "7") == (0, "data\n", "oops\nINFO x\n")
    lines = run(capsys, "logs", "-f", "--tail", "2", "7", "-o", "json")[1].splitlines()
    assert [json.loads(line)["stream"] for line in lines] == ["stdout", "stderr", "log"]
    assert (kernel.calls[-1][1].follow, kernel.calls[-1][1].tail) == (True, 2)


def test_an_unknown_command_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "trcae")
    assert code == 2 and "did you mean 'trace'?" in err


def test_misuse_names_the_commands_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "logs", "seven")
    assert (code, out) == (2, "")
    assert err.startswith("kernos: ") and "kernos logs --help" in err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import click

    def pages(command: click.Command | None, *words: str) -> list[tuple[str, ...]]:
        assert command is not None
        if not isinstance(command, click.Group):
            return [words]
        ctx = click.Context(command)
        return [
            page for sub in command.list_commands(ctx) for page in pages(command.get_command(ctx, sub), *words, sub)
        ]

    for words in pages(cli.get_command(click.Context(cli), name), name):
        code, out, _ = run(capsys, *words, "--help")
        assert code == 0
        assert "Example" in out and f"kernos {name}" in out
        assert tuple(words) in {("console",), ("driver", "run"), ("exec",)} or "--output" in out, "json everywhere"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f"  {name} " in out for name in COMMANDS)

"""The console at a real terminal (a pty) and at a pipe, with a real kernel."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import KERNOS, CommandLine
from tests.kernelproc import until
from tests.terminal import Terminal


@pytest.fixture(scope="module")
def up() -> Iterator[CommandLine]:
    """A home with a kernel in the background."""
    with tempfile.TemporaryDirectory(prefix="kn-", ignore_cleanup_errors=True) as home:
        kernos = CommandLine(Path(home))
        started = kernos("up", "-d")
        assert started.returncode == 0, started.stderr
        yield kernos
        kernos("down", "--grace", "0")


def terminal(kernos: CommandLine, *words: str) -> Terminal:
    return Terminal([*KERNOS, *words], environ=kernos.environ, folder=kernos.home)


def test_a_script_of_commands(up: CommandLine) -> None:
    done = up("console", stdin="ps -q\nrun programs.py:echo hi\nrun programs.py:lines\nmodel list -q\nkill 99999\n")
    assert done.stdout == "out hi\n0\nsim@1\n"
    assert "err hi" in done.stderr and "no process 99999" in done.stderr
    assert done.returncode == 3


def test_prompt_completion_history_and_leaving(up: CommandLine) -> None:
    with terminal(up, "console") as console:
        console.expect("kernos>")
        console.type("model li\t")
        console.expect("st")  # the rest of the word; a key typed before it comes would call it off
        console.type(" -q\r")
        console.expect(r"sim@1\r\n")
        console.expect("kernos>")
        console.type("\x1b[A\r")  # up: the line before
        console.expect(r"sim@1\r\n")
        console.expect("kernos>")
        console.type("ps garbage\x03")  # Ctrl-C gives up the line
        console.expect("kernos>")
        console.type("\x04")
        assert console.ended() == 130
    history = up.home / "state" / "kernos" / "console_history"
    assert "+model list -q" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_ctrl_c_ends_the_program_and_not_the_console(up: CommandLine) -> None:
    with terminal(up, "console") as console:
        console.expect("kernos>")
        console.type("run programs.py:sleeper\r")
        console.expect(r"sleeping\r\n")
        console.type("\x03")
        console.expect("asked to end")
        console.expect("was terminated")
        console.expect("kernos>")
        console.type("ps -w\r")
        console.expect("COMMAND")
        console.type("\x03")
        console.expect("kernos>")
        console.type("version\r")
        console.expect("ABI 1; kernel")
        console.expect("kernos>")
        console.type("exit\r")
        assert console.ended() == 0


def test_what_is_typed_goes_to_the_program_and_then_to_the_console_again(up: CommandLine) -> None:
    with terminal(up, "console") as console:
        console.expect("kernos>")
        console.type("run programs.py:lines\r")
        until(lambda: [p for p in up.json("ps") if p["name"] == "lines" and p["state"] == "waiting"])
        console.type("one\r")
        console.expect("got one")
        console.type("\x04")
        console.expect("kernos>")
        console.type("model list -q\r")
        console.expect("sim@1")
        console.type("exit\r")
        assert console.ended() == 0


def test_top_draws_until_q_and_gives_the_screen_back(up: CommandLine) -> None:
    with terminal(up, "top", "-d", "0.2", "-a") as top:
        top.expect(r"kernos .* policy")
        top.expect("PID")
        top.expect(r"\[kernos\]")
        top.expect(r"kernos .* policy")
        top.type("q")
        assert top.ended() == 0


def test_a_refusal_at_a_terminal_says_what_to_type(up: CommandLine) -> None:
    with terminal(up, "run", "programs.py:sums") as refused:
        refused.expect(r"asks for 'tool:calculator.calculate call'[\s\S]*allow it\?")
        refused.type("n\r")
        refused.expect(r"to grant it: kernos run --allow 'tool:calculator.calculate call'")
        assert refused.ended() == 4

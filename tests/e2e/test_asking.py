"""Rights of a running program from the command line: asked for at a terminal, granted, revoked, answered."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import KERNOS, CommandLine
from tests.kernelproc import until
from tests.terminal import Terminal

PROGRAMS = '''
from kernos import Sys, program

@program
async def looks(sys: Sys, times: int = 1) -> str:
    """Asks for the models by name, then what was typed."""
    said = []
    for _ in range(times):
        try:
            await sys.call("kernel.info")
            said.append("served")
        except PermissionError as refused:
            said.append("refused")
    return " ".join(said)

@program
async def requests(sys: Sys) -> str:
    try:
        return (await sys.rights.request("tool:x.y call", "to see \\x1b[31mred", timeout_s=60)).right
    except PermissionError as refused:
        return "no"

@program
async def works(sys: Sys) -> str:
    """Lists models until it may not."""
    try:
        while True:
            await sys.call("model.list")
            await sys.sleep(0.01)
    except PermissionError as refused:
        return str(refused)
'''


@pytest.fixture(scope="module")
def up() -> Iterator[CommandLine]:
    with tempfile.TemporaryDirectory(prefix="kn-", ignore_cleanup_errors=True) as home:
        kernos = CommandLine(Path(home))
        (Path(home) / "asks.py").write_text(PROGRAMS)
        started = kernos("up", "-d")
        assert started.returncode == 0, started.stderr
        yield kernos
        kernos("down", "--grace", "0")


def terminal(kernos: CommandLine, *words: str) -> Terminal:
    return Terminal([*KERNOS, *words], environ=kernos.environ, folder=kernos.home)


@pytest.mark.parametrize(("answer", "outcome"), [("y", "served served"), ("n", "refused refused")])
def test_on_a_terminal_it_asks_once(up: CommandLine, answer: str, outcome: str) -> None:
    with terminal(up, "run", "asks.py:looks", "2") as shown:
        shown.expect(r"process \d+ \(looks\) asks for 'kernel:info info' \(for kernel.info\)")
        shown.expect(r"allow it\? \[y\]es, \[n\]o, \[a\]lways: ")
        shown.type("what?\r")
        shown.expect(r"allow it\?")
        shown.type(answer + "\r")
        shown.expect(outcome)
        assert shown.ended() == 0


def test_elsewhere_it_is_refused_at_once(up: CommandLine) -> None:
    done = up("run", "asks.py:looks")
    assert done.stdout == "refused\n"


def test_always_is_for_good_until_it_is_forgotten(up: CommandLine) -> None:
    with terminal(up, "run", "asks.py:looks") as shown:
        shown.expect("allow it")
        shown.type("a\r")
        shown.expect("served")
        assert shown.ended() == 0
    with terminal(up, "run", "asks.py:looks") as shown:
        shown.expect("served")
        assert shown.ended() == 0
        assert "allow it" not in shown.shown
    (standing,) = json.loads(up("requests", "-o", "json").stdout)
    assert (standing["state"], standing["always"], standing["right"]) == ("allowed", True, "kernel:info info")
    assert up("requests", "forget", str(standing["request"])).returncode == 0
    assert json.loads(up("requests", "-o", "json").stdout) == []


@pytest.mark.parametrize(("word", "outcome"), [("allow", "tool:x.y call"), ("deny", "no")])
def test_the_operator_answers_from_another_shell(up: CommandLine, word: str, outcome: str) -> None:
    pid = int(up("run", "--detach", "asks.py:requests").stdout)
    (asked,) = until(lambda: json.loads(up("requests", "-o", "json").stdout))
    assert (asked["pid"], asked["right"], asked["waiting"]) == (pid, "tool:x.y call", 1)
    listed = up("requests").stdout
    assert "\x1b" not in listed and "to see ?[31mred" in listed
    said = up("requests", word, str(asked["request"])).stdout
    assert "tool:x.y call" in said and "\x1b" not in said
    until(lambda: str(pid) not in up("ps", "-q").stdout.split())
    assert up("requests", word, str(asked["request"])).returncode == 3


def test_grant_caps_and_revoke(up: CommandLine) -> None:
    pid = up("run", "--detach", "asks.py:works").stdout.strip()
    made = up("grant", pid, "tool:calculator.* call", "--for", "600", "--uses", "5", "--why", "to count")
    assert made.returncode == 0, made.stderr
    number = made.stdout.strip()
    rows = {row["capability"]: row for row in json.loads(up("caps", pid, "-o", "json").stdout)}
    assert rows[int(number)]["uses_left"] == 5 and rows[int(number)]["left_s"] > 500
    assert "model:*" in up("caps", pid, "-o", "name").stdout.split("\n")
    wider = up("revoke", pid, "model:sim")
    assert wider.returncode == 3 and "which is wider" in wider.stderr
    assert up("revoke", pid, number).stdout == "tool:calculator.* call\n"
    assert up("revoke", pid, "model:*", "--why", "enough of that").stdout == "model:*\n"
    until(lambda: pid not in up("ps", "-q").stdout.split())
    kinds = [json.loads(line)["kind"] for line in up("trace", pid, "-o", "json").stdout.splitlines()]
    assert "grant" in kinds and kinds.count("revoke") == 2
    assert up("grant", pid, "model:*").returncode == 3
    assert up("grant", pid, "nonsense").returncode == 2

"""Packages through the real command line: from nothing to a tool that runs in the sandbox, and away again."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.kernelproc import until
from tests.packages import left, wheel

WHEEL = "word-count/dist/word_count-0.1.0-py3-none-any.whl"


@pytest.fixture
def kernos(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def up(kernos: CommandLine) -> Iterator[CommandLine]:
    """With a kernel that runs."""
    kernel = kernos.start("up")
    until(lambda: kernos("ps").returncode == 0)
    yield kernos
    kernos("down")
    kernel.communicate(timeout=30)


def test_a_package_is_begun_built_signed_installed_used_and_removed(up: CommandLine) -> None:
    for words in (("new", "word-count"), ("build", "word-count"), ("sign", WHEEL), ("verify", WHEEL)):
        done = up("pkg", *words)
        assert done.returncode == 0, done.stderr
    installed = up("pkg", "install", "--yes", WHEEL)
    assert installed.returncode == 0, installed.stderr
    assert "let any model write" in installed.stderr and "because: to sum up what you give it" in installed.stderr
    assert up("device", "call", "word-count", "count", "text=a b c").stdout == "3\n"
    summed = up("run", "word-count:sum-up", "A long text.")
    assert summed.returncode == 0 and summed.stdout, summed.stderr
    (listed,) = up.json("pkg", "list")
    assert listed["granted"] == ["model:* generate"] and listed["key"] == up("pkg", "key", "list", "-q").stdout.strip()
    assert up("pkg", "remove", "word-count").returncode == 0
    assert left(up) == []
    gone = up("device", "call", "word-count", "count", "text=a b c")
    assert gone.returncode == 3 and "no tool 'word-count'" in gone.stderr
    assert "no program 'word-count:sum-up'" in up("run", "word-count:sum-up", "x").stderr


def test_a_kernel_for_one_command_has_the_installed_packages(kernos: CommandLine) -> None:
    asked = [{"right": "process:self", "why": "to see itself"}]
    place = wheel(
        kernos.home, manifest={"rights": asked, "programs": {"rights": "words:rights", "hello": "words:hello"}}
    )
    done = kernos("pkg", "install", "--unsigned", "--yes", place)
    assert done.returncode == 0, done.stderr
    assert kernos("run", "words:hello", "ann").stdout == "hello ann\n"
    held = kernos("run", "--allow", "topic:news publish", "words:rights").stdout
    assert re.findall(r'"([^"]+)"', held) == ["process:self", "topic:news publish"]


def test_a_tool_sees_the_folder_it_was_granted_and_no_other(up: CommandLine) -> None:
    (up.home / "docs").mkdir()
    (up.home / "docs" / "a.txt").write_text("in the folder")
    (up.home / "secret.txt").write_text("outside")
    asked = [{"right": "file:{folder}/** read", "why": "to search it"}]
    place = wheel(up.home, manifest={"rights": asked, "tools": {"words": "words:*"}})
    unfilled = up("pkg", "install", "--unsigned", "--yes", place)
    assert unfilled.returncode == 2 and "--set folder=" in unfilled.stderr
    assert up("pkg", "install", "--unsigned", "--yes", "--set", "folder=./docs", place).returncode == 0
    assert up("device", "call", "words", "look", f"path={up.home}/docs/a.txt").stdout == "in the folder\n"
    refused = up("device", "call", "words", "look", f"path={up.home}/secret.txt")
    assert refused.returncode != 0 and "outside" not in refused.stdout


def test_nothing_is_granted_unasked(kernos: CommandLine) -> None:
    asked = [{"right": "model:*", "why": "to think"}, {"right": "net:https://www.example.com/** get", "why": "to read"}]
    place = wheel(kernos.home, manifest={"rights": asked})
    refused = kernos("pkg", "install", "--unsigned", place)
    assert refused.returncode == 4 and "asks for what nobody granted" in refused.stderr
    part = kernos("pkg", "install", "--unsigned", "--allow", "model:*", place)
    assert part.returncode == 4 and "'net:https://www.example.com/** get'" in part.stderr
    assert left(kernos) == []
    whole = kernos(
        "pkg", "install", "--unsigned", "--allow", "model:*", "--allow", "net:https://*.example.com/** get", place
    )
    assert whole.returncode == 0, whole.stderr


def test_a_system_call_of_a_package_is_in_the_table_the_manual_and_the_schema(up: CommandLine) -> None:
    asked = {"syscalls": {"count": "words:*"}, "tools": {}}
    assert up("pkg", "install", "--unsigned", "--yes", wheel(up.home, manifest=asked)).returncode == 0
    page = up("man", "words.count")
    assert page.returncode == 0, page.stderr
    for part in ("words.count - Counts words", "words.count(text: string)", "syscall:words.count call", "words 1.0"):
        assert part in page.stdout
    rows = {row["name"]: row for row in up.json("syscalls")}
    assert rows["words.count"]["right"] == {"resource": "syscall:words.count", "action": "call"}
    assert rows["words.count"]["args"]["required"] == ["text"] and "words.count" in up("syscalls", "-q").stdout
    schema = json.loads(up("syscalls", "--schema").stdout)
    assert [each["name"] for each in schema["plugins"]] == ["words.count"] and schema["calls"]
    (up.home / "asks.py").write_text(
        "from kernos import Sys, program\n\n\n@program\nasync def asks(sys: Sys) -> int:\n"
        "    return (await sys.call_plugin('words.count', text='a b c')).value\n"
    )
    assert up("run", "--allow", "syscall:words.count call", "asks.py").stdout == "3\n"
    refused = up("run", "asks.py")
    assert refused.returncode != 0 and "syscall:words.count call" in refused.stderr
    assert up("pkg", "remove", "words").returncode == 0
    assert up("man", "words.count").returncode == 3


def test_code_that_runs_outside_the_sandbox_needs_the_word_of_trust(up: CommandLine) -> None:
    code = (
        "import click\n\nfrom kernos.hooks import hookimpl\n\n\n@click.command()\ndef wave():\n"
        "    '''Waves.'''\n    print('a wave')\n\n\n@hookimpl\ndef kernos_commands():\n    return [wave]\n"
    )
    place = wheel(
        up.home,
        manifest={"commands": {"wave": "waves:kernos_commands"}, "programs": {}},
        files={"waves.py": code},
    )
    refused = up("pkg", "install", "--unsigned", "--yes", place)
    assert refused.returncode != 0 and "--trust" in refused.stderr
    assert up("wave").returncode == 2
    assert up("pkg", "install", "--unsigned", "--yes", "--trust", place).returncode == 0
    assert up("wave").stdout == "a wave\n" and "Waves." in up("--help").stdout
    assert up.json("pkg", "show", "words")["trusted"] is True
    assert up("pkg", "remove", "words").returncode == 0
    assert up("wave").returncode == 2

"""Commands of extensions: there by a word of trust in the user's configuration, in `kernos` and in the console."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.extensions import CODE, NAME, installed_package
from tests.scriptedkernel import scripted_kernel
from userland.cli.main import execute
from userland.cli.session import Session
from userland.console.candidates import Candidates


@pytest.fixture
def package(tmp_path: Path) -> Iterator[None]:
    with installed_package(tmp_path / "site"):
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this user's kernos.toml."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("KERNOS_SOCKET", str(tmp_path / "k.sock"))
    folder = tmp_path / "kernos"
    folder.mkdir()
    return folder


def trust(home: Path, *names: str) -> None:
    (home / "kernos.toml").write_text(f"trust = {list(names)!r}\n")


@pytest.mark.usefixtures("package")
def test_a_command_of_a_trusted_extension_is_one_of_kernos(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust(home, "demo")
    assert execute(["greet", "Ann"], Session()) == 0
    assert capsys.readouterr().out == "good day, Ann\n"
    assert execute(["--help"], Session()) == 0
    assert "greet" in capsys.readouterr().out.partition("Extensions:")[2]
    assert execute(["great"], Session()) == 2


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("text", [None, "", "trust = []\n", 'trust = ["demmo"]\n', "[trust\n", "trust = 1\n"])
def test_without_the_word_nothing_is_loaded(home: Path, text: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    if text is not None:
        (home / "kernos.toml").write_text(text)
    assert execute(["greet", "Ann"], Session()) != 0
    assert capsys.readouterr().out == ""
    assert NAME not in sys.modules


@pytest.mark.usefixtures("package")
def test_commands_that_ship_do_not_look_for_extensions(home: Path) -> None:
    trust(home, "demo")
    assert execute(["man", "errno"], Session()) == 0
    assert NAME not in sys.modules


def test_none_stands_in_for_a_command_that_ships(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust(home, "demo")
    with installed_package(tmp_path / "site", code=CODE.replace("@click.command()", '@click.command("ps")')):
        assert execute(["greet"], Session()) == 2
    assert "there is a command 'ps' already" in capsys.readouterr().err


@pytest.mark.usefixtures("package")
def test_the_console_has_them_too(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trust(home, "demo")
    monkeypatch.setattr("sys.stdin", io.StringIO("greet Ann\nhelp\n"))
    with scripted_kernel(tmp_path / "k.sock"):
        assert execute(["console"], Session()) == 0
        assert ("greet", "Greets NAME.") in Candidates(Session()).for_word([], "gr")
        assert [word for word, _ in Candidates(Session()).for_word(["greet"], "--")] == ["--help"]
    told = capsys.readouterr().out
    assert told.startswith("good day, Ann\n") and "Greets NAME." in told

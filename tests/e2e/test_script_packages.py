"""Scripts that name their packages in themselves: installed once, by uv and by pip, and imported in the jail."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.kernelproc import until
from tests.wheels import source, wheel
from userland.cli import environment as environments
from userland.cli.environment import environment
from userland.cli.failures import ERROR, NOT_FOUND, Failure

SCRIPT = '''
# /// script
# requires-python = ">=3.11"
# dependencies = ["Leads-to_tiny"]
# ///
import ctypes
import os

import leads_to_tiny
import tiny
from kernos import Sys, program


@program
async def main(sys: Sys) -> list[str]:
    """What it imported, what a child of it did, and whether it can write there."""
    ctypes.CDLL("librt.so.1")  # to which compiled packages are linked
    child = await sys.spawn(f"{__file__}:child")
    folder = os.path.dirname(tiny.__file__)
    try:
        open(folder + "/new", "w")
        wrote = "wrote"
    except OSError as refused:
        wrote = "read-only"
    return [tiny.VERSION, leads_to_tiny.VERSION, await child.wait(), wrote]


@program
async def child(sys: Sys) -> str:
    import tiny

    return "child " + tiny.VERSION
'''


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of packages, the only ones that there are."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    wheel(folder, "tiny", "1.5")
    wheel(folder, "leads_to_tiny", "2.0", needs=("tiny>1",))
    return folder


def settings(shelf: Path, cache: Path) -> dict[str, str]:
    """An environment in which installers know of `shelf` and nothing else."""
    return {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(shelf),
        "UV_NO_CONFIG": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(shelf),
        "UV_CACHE_DIR": str(cache / "uv"),
        "XDG_CACHE_HOME": str(cache),
    }


@pytest.fixture
def kernos(tmp_path: Path, shelf: Path) -> CommandLine:
    home = tmp_path / "h"
    home.mkdir()
    kernos = CommandLine(home)
    kernos.environ.update(settings(shelf, home / "cache"))
    (home / "script.py").write_text(SCRIPT)
    return kernos


@pytest.fixture(params=["uv", "pip"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where packages are kept, for calls in this process; with each of the two installers."""
    if request.param == "pip":
        monkeypatch.setattr(environments, "_uv", lambda: None)
    else:
        assert environments._uv() is not None, "uv is of the dev extra"
    for key, value in settings(shelf, tmp_path / "cache").items():
        monkeypatch.setenv(key, value)
    return tmp_path / "cache" / "kernos" / "packages"


def ignore(line: str) -> None:
    pass


def left(cache: Path) -> list[str]:
    """What there is besides locks."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_script_imports_what_it_names_and_so_do_its_children(kernos: CommandLine, shelf: Path) -> None:
    first = kernos("run", "-o", "json", "script.py")
    assert json.loads(first.stdout)["value"] == ["1.5", "2.0", "child 1.5", "read-only"], first.stderr
    assert "script.py: installing leads-to-tiny; kept in" in first.stderr
    shutil.rmtree(shelf)
    assert kernos("up", "-d").returncode == 0
    try:
        again = kernos("run", "-o", "json", "script.py")
        assert json.loads(again.stdout)["value"] == ["1.5", "2.0", "child 1.5", "read-only"], again.stderr
        assert again.stderr == "", "they were there: on a kernel that runs as on one for this command"
    finally:
        kernos("down", "--grace", "0")


def test_elsewhere_a_file_is_refused_with_what_to_do(kernos: CommandLine) -> None:
    refused = kernos("run", "--host", "127.0.0.1:1", "script.py")
    assert refused.returncode == 2
    assert "install it there as a program" in refused.stderr and "without --host" in refused.stderr
    assert not (kernos.home / "cache").exists(), "nothing was installed for it"


def test_what_a_script_says_wrongly_is_told_before_anything_starts(kernos: CommandLine) -> None:
    (kernos.home / "new.py").write_text('# /// script\n# requires-python = ">=4"\n# ///\n')
    told = kernos("run", "new.py")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("kernos: new.py needs Python >=4, and this kernos runs on 3.")
    assert kernos("run", "--build", "ask").returncode == 2


def test_interrupted_it_leaves_nothing(kernos: CommandLine, silent_index: str) -> None:
    del kernos.environ["UV_NO_INDEX"]
    kernos.environ["UV_DEFAULT_INDEX"] = silent_index
    (kernos.home / "script.py").write_text(SCRIPT.replace("Leads-to_tiny", "elsewhere"))
    running = kernos.start("run", "script.py")
    assert running.stderr is not None
    assert "installing elsewhere" in running.stderr.readline()
    until(lambda: children_of(running.pid))
    (installer,) = children_of(running.pid)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 130
    running.communicate()
    assert not Path(f"/proc/{installer}").exists()
    assert left(kernos.home / "cache" / "kernos" / "packages") == []


def test_what_a_killed_command_left_is_in_nobody_s_way(kernos: CommandLine, silent_index: str) -> None:
    closed = dict(kernos.environ)
    del kernos.environ["UV_NO_INDEX"]
    kernos.environ["UV_DEFAULT_INDEX"] = silent_index
    running = kernos.start("run", "script.py")
    assert running.stderr is not None
    running.stderr.readline()
    until(lambda: children_of(running.pid))
    (installer,) = children_of(running.pid)
    running.kill()
    running.communicate()
    assert [name for name in left(kernos.home / "cache" / "kernos" / "packages") if name.endswith(".new")]
    kernos.environ.clear()
    kernos.environ.update(closed)
    waiting = kernos.start("run", "script.py")
    assert waiting.stderr is not None
    assert "installed by another command: waiting" in waiting.stderr.readline()
    os.kill(installer, signal.SIGKILL)
    out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0 and "child 1.5" in out


def test_two_at_once_make_it_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, go = threading.Event(), threading.Event()
    made: list[Path] = []
    said: list[str] = []
    monkeypatch.setattr("userland.cli.environment.say", said.append)

    def hold(line: str) -> None:
        told.set()
        assert go.wait(60)

    def make(tell: Callable[[str], None]) -> None:
        made.append(environment(("tiny",), name="p.py", tell=tell))

    first = threading.Thread(target=make, args=(hold,))
    second = threading.Thread(target=make, args=(ignore,))
    first.start()
    assert told.wait(60)
    second.start()
    try:
        until(lambda: any("waiting for it" in line for line in said))
    finally:
        go.set()
        first.join()
        second.join()
    assert sum("installing tiny" in line for line in said) == 1
    assert made[0] == made[1]
    assert left(cache) == [made[0].name]


def test_the_same_in_another_order_is_the_same_and_readable_by_all(cache: Path) -> None:
    made = environment(("leads-to-tiny", "tiny"), name="p.py", tell=ignore)
    assert environment(("tiny", "leads-to-tiny"), name="p.py", tell=ignore) == made
    for path in (made, made / "tiny.py", made / "leads_to_tiny.py"):
        assert path.stat().st_mode & 0o044 == 0o044, "workers have another uid"


@pytest.mark.parametrize("wanted", ["nothing-of-that-name", "tiny>5"])
def test_what_there_is_not_is_one_sentence(cache: Path, wanted: str) -> None:
    with pytest.raises(Failure) as failed:
        environment((wanted,), name="p.py", tell=ignore)
    assert failed.value.code == NOT_FOUND and wanted in failed.value.message
    assert left(cache) == []


@pytest.mark.parametrize("way", ["by name", "by its address", "through a wheel"])
def test_nothing_is_built_unless_somebody_says_so(cache: Path, shelf: Path, tmp_path: Path, way: str) -> None:
    built = tmp_path / "built"
    made = source(shelf, "raw", touches=built)
    wheel(shelf, "asks_for_raw", needs=(f"raw @ file://{made}",))
    wanted = {"by name": "raw", "by its address": f"raw @ file://{made}", "through a wheel": "asks-for-raw"}[way]
    with pytest.raises(Failure) as failed:
        environment((wanted,), name="p.py", tell=ignore)
    assert failed.value.code in (ERROR, NOT_FOUND)
    assert not built.exists(), "code of the package ran outside the sandbox"
    if way != "through a wheel":
        assert "--build allows" in failed.value.message
        folder = environment((wanted,), name="p.py", build=True, tell=ignore)
        assert built.exists() and (folder / "raw.py").exists()


def test_what_breaks_off_leaves_nothing(cache: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        environment(("tiny",), name="p.py", tell=interrupt)
    assert left(cache) == []


def test_a_folder_that_cannot_be_made_is_told(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(Failure, match="its packages cannot be kept in"):
        environment(("tiny",), name="p.py", tell=ignore)


@pytest.fixture
def silent_index() -> Iterator[str]:
    """A package index that lets everybody in and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple"


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(each) for each in found.stdout.split()]

"""`kernos driver`: a new driver of each kind keeps to the ABI as it is; one that does not is found out; one answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commandline import KERNOS


def kernos(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*KERNOS, "driver", *words], input=stdin, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("kind", "line", "answer"),
    [
        ("model", "three ships", "three ships\n[stop: "),
        ("embedding", "three ships", "(64 numbers)"),
        ("store", "add c a 1 0\nadd c b 0.6 0.8\nquery c 1 0 1\nquery c 1 0", "+0.800 b\nEINVAL: the collection holds"),
    ],
)
def test_a_new_driver_passes_every_check_and_answers(tmp_path: Path, kind: str, line: str, answer: str) -> None:
    folder = tmp_path / f"my-{kind}"
    made = kernos("new", str(folder), "--kind", kind)
    assert made.returncode == 0, made.stderr
    tested = kernos("test", str(folder))
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert " 0 breached" in tested.stdout.splitlines()[-1] and "kept         opens-twice" in tested.stdout
    talked = kernos("run", str(folder), stdin=line + "\n")
    assert talked.returncode == 0 and answer in talked.stdout, talked.stdout + talked.stderr
    assert kernos("new", str(folder), "--kind", kind).returncode == 5


def test_the_test_of_a_new_driver_is_green(tmp_path: Path) -> None:
    assert kernos("new", str(tmp_path / "mine"), "--kind", "embedding").returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "mine")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_a_driver_that_breaks_a_promise_is_told_which(tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    assert kernos("new", str(folder), "--kind", "store").returncode == 0
    code = (folder / "bad.py").read_text()
    (folder / "bad.py").write_text(code.replace("tuple(sorted(self.collections.get(call.collection, {})))", "('x',)"))
    tested = kernos("test", str(folder), "--only", "ids-are-complete", "--only", "hello")
    assert tested.returncode == 1
    assert "breached     ids-are-complete: Breach: other ids than were added" in tested.stdout
    assert tested.stdout.splitlines()[-1] == "bad:kernos_driver: 1 kept, 1 breached, 0 not declared"
    told = kernos("test", str(folder), "--only", "ids-are-complete", "-o", "json")
    (verdict,) = map(json.loads, told.stdout.splitlines())
    assert (told.returncode, verdict["check"], verdict["outcome"]) == (1, "ids-are-complete", "breached")


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("nobody", 1, "no driver 'nosuch'|no driver 'nobody'"),
        ("no.such:thing", 1, "No module named 'no'"),
        ("./nowhere", 3, "no such folder"),
        ("FOLDER", 3, "pyproject.toml"),
        ("TWO", 2, "has not one driver: a (a:b), c (c:d)"),
    ],
)
def test_what_is_no_driver_is_refused_with_what_to_do(tmp_path: Path, name: str, code: int, why: str) -> None:
    if name == "TWO":
        (tmp_path / "pyproject.toml").write_text('[tool.kernos.drivers]\na = "a:b"\nc = "c:d"\n')
    done = kernos("test", str(tmp_path) if name.isupper() else name)
    assert done.returncode == code
    assert any(each in done.stderr for each in why.split("|")), done.stderr

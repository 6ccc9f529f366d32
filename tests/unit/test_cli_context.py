"""`kernos context` against a scripted kernel: golden tables, pages of a list, refusals."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from syscalls.calls import context as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Busy
from tests.scriptedkernel import ScriptedKernel, scripted_kernel
from userland.cli.main import execute
from userland.cli.session import Session

NOTES = abi.NamedContext(name="notes", model="tiny@1", version=12, turns=12, pages=3, bytes=5120, handles=2)
OTHER = abi.NamedContext(name="other", model="big@4", version=0, turns=0, pages=0, bytes=0)


def contexts(args: abi.ListContexts) -> abi.Contexts:
    if args.name is not None:
        return abi.Contexts(contexts=tuple(each for each in (NOTES, OTHER) if each.name == args.name))
    if not args.after:
        return abi.Contexts(contexts=(NOTES,), more=True)
    assert args.after == "notes"
    return abi.Contexts(contexts=(OTHER,))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedKernel]:
    path = tmp_path / "k.sock"
    monkeypatch.setenv("KERNOS_SOCKET", str(path))
    with scripted_kernel(path, context__list=contexts) as kernel:
        yield kernel


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert execute(words, Session()) == 0
    return capsys.readouterr().out


def test_list(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "context", "list") == (
        "CONTEXT  MODEL   TURNS  PAGES     SIZE  OPEN\n"
        "notes    tiny@1     12      3  5.0 KiB     2\n"
        "other    big@4       0      0      0 B     -\n"
    )
    assert out(capsys, "context", "list", "-q") == "notes\nother\n"
    assert [each["name"] for each in json.loads(out(capsys, "context", "list", "-o", "json"))] == ["notes", "other"]


def test_show(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert "pages:      3 (5.0 KiB, sealed)" in out(capsys, "context", "show", "notes")
    assert json.loads(out(capsys, "context", "show", "other", "-o", "json"))["version"] == 0
    assert execute(["context", "show", "gone"], Session()) == 3
    assert "kernos context list" in capsys.readouterr().err


def test_rm(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    def forget(args: abi.Forget) -> Nothing:
        if args.name == "notes":
            raise Busy("context notes is open (2 handles and 0 forks): close them first")
        return Nothing()

    kernel.script["context.forget"] = forget
    assert out(capsys, "context", "rm", "other") == "other\n"
    assert json.loads(out(capsys, "context", "rm", "other", "-o", "json")) == ["other"]
    assert execute(["context", "rm", "other", "notes"], Session()) == 5
    assert capsys.readouterr().err == "kernos: context notes is open (2 handles and 0 forks): close them first\n"

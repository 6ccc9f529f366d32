"""load, unload, tokenize and score against a scripted kernel: what is asked, what is printed."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from syscalls.calls import model as abi
from syscalls.calls.context import Usage
from syscalls.driver import TokenScore
from syscalls.errors import Busy
from syscalls.turns import user
from tests.scriptedkernel import ScriptedKernel, scripted_kernel
from userland.cli.main import execute
from userland.cli.session import Session

TINY = abi.ModelInfo(ref="tiny@1", driver="torch", origin="/models/tiny", state="ready", slots=4)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedKernel]:
    path = tmp_path / "k.sock"
    monkeypatch.setenv("KERNOS_SOCKET", str(path))
    with scripted_kernel(path) as kernel:
        yield kernel


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert execute(words, Session()) == 0
    return capsys.readouterr().out


def test_load_and_unload(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.script["model.load"] = lambda args: TINY
    assert "state:      ready" in out(capsys, "model", "load", "tiny")

    def unload(args: abi.Unload) -> abi.ModelInfo:
        if not args.force:
            raise Busy("2 calls are under way on tiny@1")
        return TINY

    kernel.script["model.unload"] = unload
    assert execute(["model", "unload", "tiny"], Session()) == 5
    assert capsys.readouterr().err == "kernos: 2 calls are under way on tiny@1\n"
    out(capsys, "model", "unload", "tiny", "--wait", "3", "--force")
    assert kernel.named("model.unload")[-1] == abi.Unload(model="tiny", timeout_s=3.0, force=True)


def test_tokenize(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.script["model.tokenize"] = lambda args: abi.Tokenized(count=2, ids=(104, 105))
    assert out(capsys, "model", "tokenize", "hi") == "2: 104 105\n"
    assert json.loads(out(capsys, "model", "tokenize", "hi", "-o", "json"))["ids"] == [104, 105]
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe"))
    assert out(capsys, "model", "tokenize", "--model", "tiny", "--count") == "2\n"
    assert kernel.named("model.tokenize")[-1] == abi.Tokenize(text="from a pipe", model="tiny")
    kernel.script["model.tokenize"] = lambda args: abi.Tokenized(count=9, exact=False)
    assert out(capsys, "model", "tokenize", "hi") == "<= 9\n"


def test_score(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    def tokens(*logprobs: float) -> abi.Continuation:
        own = tuple(TokenScore(logprob=each, greedy=each > -1) for each in logprobs)
        return abi.Continuation(logprob=sum(logprobs), greedy=min(logprobs) > -1, tokens=own)

    scored = abi.Scored(continuations=(tokens(-4.0), tokens(-0.25, -0.5)), usage=Usage(prompt_tokens=9))
    kernel.script["model.score"] = lambda args: scored
    assert out(capsys, "model", "score", "2 + 2 =", " 5", " 4\n") == (
        "LOGPROB  PER TOKEN  TOKENS  GREEDY  CONTINUATION\n"
        "-0.7500    -0.3750       2  *        4\\n\n"
        "-4.0000    -4.0000       1           5\n"
    )
    out(capsys, "model", "score", "--chat", "Salty?", "yes", "no")
    assert kernel.named("model.score")[-1] == abi.Score(continuations=("yes", "no"), turns=(user("Salty?"),))

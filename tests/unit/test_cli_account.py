"""`kernos account`, and `run --budget`, against a scripted kernel."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from syscalls.calls.account import AccountInfo, AccountUsage, Limit, ModelUse, ResourceUse, Transfer, Usage
from syscalls.calls.process import Budget, Exit, Nothing, Spawned
from tests.scriptedkernel import ScriptedKernel, Streamed, scripted_kernel
from userland.cli.main import execute
from userland.cli.session import Session

ROOT = AccountUsage(
    accounts=(
        AccountInfo(
            address="kernel", name="kernel", principal="kernel",
            resources=(
                ResourceUse(resource="tokens", used=12345, held=200, room=100),
                ResourceUse(resource="money_micros", used=1_250_000, limit=2_000_000, room=750_000),
                ResourceUse(resource="processes", room=3),
            ),
        ),
        AccountInfo(
            address="17", name="ask", principal="ann", pid=17, depth=1, parent="kernel",
            resources=(
                ResourceUse(resource="tokens", used=800, limit=20_000, room=100),
                ResourceUse(resource="generation_us", used=2_540_000),
                ResourceUse(resource="bytes_stored", used=4096, limit=1 << 20),
            ),
            models=(ModelUse(model="m@1", jobs=2, tokens_in=600, tokens_out=200, generation_us=2_540_000),),
        ),
    )
)  # fmt: skip
OVERHEAD = AccountUsage(accounts=(AccountInfo(address="kernel:overhead", name="kernel:overhead", principal="kernel"),))
TREE = """\
ACCOUNT          PID     TOKENS   MONEY  GENERATION  CALLS            BYTES  PROCS  CTXS
kernel             -    12k+200  1.25/2           -      -                -      -     -
  ask             17  800/20k         -       2.5 s      -  4.0 KiB/1.0 MiB      -     -
kernel:overhead    -          -       -           -      -                -      -     -
"""
MODELS = """\
MODEL  JOBS   IN  CACHED  OUT  GENERATION  MONEY
m@1       2  600       -  200       2.5 s      -
"""


def told(args: Usage) -> AccountUsage:
    if args.account == "kernel:overhead":
        return OVERHEAD
    return ROOT if args.account == "kernel" else AccountUsage(accounts=ROOT.accounts[1:], more=3)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedKernel]:
    path = tmp_path / "k.sock"
    monkeypatch.setenv("KERNOS_SOCKET", str(path))
    with scripted_kernel(path, account__usage=told) as kernel:
        yield kernel


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = execute(words, Session())
    return code, *capsys.readouterr()


def test_the_tree(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "account")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [line.split() for line in TREE.splitlines()]


def test_one_account_by_model_as_json_and_by_name(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    more = "kernos: 3 more accounts are not shown: name one further down\n"
    assert run(capsys, "account", "17", "--models") == (0, MODELS, more)
    code, out, _ = run(capsys, "account", "17", "-o", "json")
    assert (code, json.loads(out)[0]["resources"][0]["limit"]) == (0, 20_000)
    assert run(capsys, "account", "-q") == (0, "kernel\n17\nkernel:overhead\n", "")


def test_limits_are_set(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.script["account.limit"] = lambda args: ROOT.accounts[1]
    assert run(capsys, "account", "17", "--limit", "tokens=50k, calls=none,money=0.5")[0] == 0
    limits = {"tokens": 50_000, "calls": None, "money_micros": 500_000}
    assert kernel.named("account.limit") == [Limit(account="17", limits=limits)]


def test_allowance_is_given(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.script["account.transfer"] = lambda args: Nothing()
    assert run(capsys, "account", "17", "--give", "18", "tokens=5k")[0] == 0
    assert kernel.named("account.transfer") == [Transfer(source="17", target="18", amounts={"tokens": 5000})]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("account", "17", "--limit", "tokens"), "--limit: 'tokens': write RESOURCE=AMOUNT"),
        (("account", "17", "--limit", "tokens=1,tokens=2"), "tokens stands there twice"),
        (("account", "17", "--limit", " ,"), "--limit is empty"),
        (("account", "17", "--limit", "token=1"), "--limit: no resource 'token': there are tokens, tokens_in"),
        (("account", "17", "--give", "18", "tokens=none"), "--give: tokens=none: write a number"),
        (("account", "--limit", "tokens=1"), "of which account?"),
        (("account", "17", "--limit", "tokens=1", "--give", "18", "tokens=1"), "two commands"),
        (("run", "--budget", "tokens=many", "ask"), "--budget: tokens=many: write a number"),
        (("run", "--budget", "tokens=none", "ask"), "--budget: tokens=none: write a number"),
    ],
)
def test_misuse(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert says in err


def test_run_hands_on_a_budget(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.script["process.spawn"] = lambda args: Spawned(pid=7)
    kernel.script["process.logs"] = lambda args: Streamed([], Nothing())
    kernel.script["process.wait"] = lambda args: Exit(pid=7, status="done")
    kernel.script["message.send"] = lambda args: Nothing()
    budget = "money=0.50,generation=1.5m,bytes=2MiB,processes=3"
    assert run(capsys, "run", "--budget", budget, "--budget-tokens", "9", "--timeout", "5", "ask", "x")[0] == 0
    assert kernel.named("process.spawn")[0].budget == Budget(
        tokens=9, money_micros=500_000, generation_s=90.0, bytes_stored=2 << 20, processes=3, wall_s=5.0
    )

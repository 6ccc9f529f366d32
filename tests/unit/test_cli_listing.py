"""ps, top, model and device against a scripted kernel: golden transcripts, every format."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from syscalls.calls.device import DeviceInfo, Devices
from syscalls.calls.kernel import KernelInfo
from syscalls.calls.model import ModelInfo, Models
from syscalls.calls.process import Processes, ProcessInfo
from tests.scriptedkernel import ScriptedKernel, scripted_kernel
from userland.cli.commands.top import arranged
from userland.cli.main import execute
from userland.cli.session import Session

PROCESSES = Processes(
    processes=(
        ProcessInfo(
            pid=12, ppid=1, principal="ann", kind="program", name="ask", state="running", nice=5, model="kernos-tiny",
            context_tokens=812, window_tokens=4096, tokens_per_s=52.06, tokens=1234, wall_s=67.2, faults=3,
            note="asking", done=1, total=4, worker=4711, tokens_max=5000, queued=2, money_micros=12_345,
        ),
        ProcessInfo(pid=2, ppid=1, principal="ann", kind="session", name="session", state="ready", wall_s=3700.0),
    )
)  # fmt: skip
PS = """\
PID  PPID  UID  STAT     NI  MODEL             CTX  TOK/S     TOKENS    COST     TIME  COMMAND
  2     1  ann  ready     0  -                   -      -          0       -  1:01:40  [session]
 12     1  ann  running   5  kernos-tiny  812/4096   52.1  1234/5000  0.0123     1:07  ask
"""
PS_WIDE = """\
PID  PPID  UID  STAT     NI  MODEL             CTX  TOK/S     TOKENS    COST  QUEUED  FAULTS  WORKER     TIME  COMMAND    NOTE
  2     1  ann  ready     0  -                   -      -          0       -       -       0       -  1:01:40  [session]
 12     1  ann  running   5  kernos-tiny  812/4096   52.1  1234/5000  0.0123       2       3    4711     1:07  ask        1/4 asking
"""  # noqa: E501


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedKernel]:
    path = tmp_path / "k.sock"
    monkeypatch.setenv("KERNOS_SOCKET", str(path))
    with scripted_kernel(path, process__list=lambda args: PROCESSES) as kernel:
        yield kernel


def out(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert execute(words, Session()) == 0
    return capsys.readouterr().out


def test_ps_table(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "ps") == PS
    assert kernel.calls[-1][1].all is False


def test_ps_wide_of_everybody(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "ps", "-a", "-o", "wide") == PS_WIDE
    assert kernel.calls[-1][1].all is True


def test_ps_names(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "ps", "-q") == out(capsys, "ps", "-o", "name") == "2\n12\n"


def test_ps_json_has_every_field_also_those_at_their_default(
    kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = json.loads(out(capsys, "ps", "-o", "json"))
    assert set(first) == set(second) == set(ProcessInfo.__struct_fields__)
    assert (first["nice"], second["tokens_max"]) == (0, 5000)


def test_ps_yaml(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    lines = out(capsys, "ps", "-o", "yaml").splitlines()
    assert lines[0] == "- pid: 2"
    assert '  name: "session"' in lines
    assert "  rights: []" in lines


def test_top_without_a_terminal_is_one_picture(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    kernel.script["kernel.info"] = lambda args: KernelInfo(
        version="9.9", abi=1, pid=99, uptime_s=61.0, processes=1, policy="fair", calls=20, tokens=15_000, faults=3,
        denials=1, default_model="kernos-tiny", queued=5, generating=2,
    )  # fmt: skip
    lines = out(capsys, "top").splitlines()
    assert lines[0] == "kernos 9.9 (pid 99)  up 1:01  model kernos-tiny  policy fair"
    assert lines[1].startswith("1 programs: 1 running, 1 ready  2 generating, 5 queued  52.1 tok/s  15k tokens  ")
    assert lines[1].endswith("  20 calls  3 faults  1 denied")
    assert [line.split()[0] for line in lines[3:]] == ["PID", "12", "2"], "the busiest first"
    lines = out(capsys, "top", "--sort", "pid").splitlines()
    assert lines[0].endswith("policy fair  sorted by pid")
    assert [line.split()[0] for line in lines[3:]] == ["PID", "2", "12"]


@pytest.mark.parametrize(("sort", "first"), [("p", 2), ("t", 12), ("s", 12), ("m", 12), ("w", 2), ("n", 12), ("b", 12)])
def test_top_sorts_by_a_key(sort: str, first: int) -> None:
    assert arranged(PROCESSES.processes, sort)[0].pid == first


def test_model_list_and_show(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    info = ModelInfo(
        ref="tiny@2", driver="torch", origin="/models/tiny", checksum="abcdef0123456789", can=("generate",),
        window_tokens=4096, parameters=840_000, slots=16, state="ready", default=True,
    )  # fmt: skip
    kernel.script |= {"model.list": lambda args: Models(models=(info,)), "model.info": lambda args: info}
    assert out(capsys, "model", "list") == (
        "MODEL   DEFAULT  STATE  DRIVER  PARAMS  WINDOW  SLOTS  CHECKSUM      ORIGIN\n"
        "tiny@2  *        ready  torch     840k    4096     16  abcdef012345  /models/tiny\n"
    )
    assert "window:     4096 tokens\n" in out(capsys, "model", "show", "tiny")
    assert json.loads(out(capsys, "model", "show", "tiny", "-o", "json"))["can"] == ["generate"]


def test_model_add_sends_an_absolute_folder_and_options(
    kernel: ScriptedKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path)
    kernel.script["model.add"] = lambda args: ModelInfo(ref="m@1", driver="torch", origin=args.origin)
    out(capsys, "model", "add", "m", "m", "--driver", "torch", "--option", "dtype=bf16", "--option", "a=b=c")
    (args,) = kernel.named("model.add")
    assert (args.origin, args.driver) == (str(tmp_path / "m"), "torch")
    assert args.options == {"dtype": "bf16", "a": "b=c"}


def test_device_list(kernel: ScriptedKernel, capsys: pytest.CaptureFixture[str]) -> None:
    device = DeviceInfo(name="tiny@1", kind="model", driver="torch", state="ready", host=7, busy=2, slots=16)
    kernel.script["device.list"] = lambda args: Devices(devices=(device,))
    assert out(capsys, "device", "list", "--kind", "model") == (
        "DEVICE  KIND   DRIVER  STATE  BUSY  RESTARTS  HOST  DETAIL\n"
        "tiny@1  model  torch   ready  2/16         0     7\n"
    )
    assert kernel.calls[-1][1].kind == "model"

"""What one call of a tool may use, kept to from outside by real workers: it is ended, and nobody else is.

Broken by: a call in the worker of others, a limit that is not handed on, a worker that outlives its call.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Raw

from syscalls.calls import device as abi
from syscalls.calls import process
from syscalls.codec import pack, unpack
from syscalls.errors import OutcomeUnknown, OverLimit
from syscalls.link.blocking import BlockingLink
from syscalls.worker_limits import CallLimits
from tests.kernelproc import KernelProcess, kernel_up
from userland.cli.main import execute
from userland.cli.session import Session

TESTS = Path(__file__).parents[1]
CONFIG = f"""
embedding = "sim"
store = "memory"

[tools.hungry]
program = "tests.hungry_tool:*"
rights = ["file:{TESTS}/** read"]

[tools.loud]
program = "tests.hungry_tool:*"
rights = ["file:{TESTS}/** read"]

[limits]
output_bytes_s = 65536

[call_limits.hungry]
memory_bytes = 536870912
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as up:
        yield up


def call(link: BlockingLink, method: str, limits: CallLimits | None = None, device: str = "hungry") -> object:
    args = abi.CallTool(device=device, method=method, arguments=Raw(pack({})), limits=limits)
    answer: abi.ToolAnswer = link.call(abi.CALL, args)
    return unpack(object, answer.value)


@pytest.mark.parametrize(
    ("method", "limits", "told"),
    [
        ("spins", CallLimits(cpu_s=1), "hungry.spins was ended: cpu: 1 s"),
        ("spins", CallLimits(wall_s=0.7), "hungry.spins was ended: wall: 0.7 s"),
        ("hoards", CallLimits(memory_bytes=256 << 20), "memory: 256 MiB"),
        ("hoards", None, "memory: 512 MiB"),
    ],
)
def test_a_call_that_runs_over_is_ended_and_others_go_on(
    kernel: KernelProcess, method: str, limits: CallLimits | None, told: str
) -> None:
    over, other = kernel.link(), kernel.link()
    said: list[BaseException] = []

    def run_over() -> None:
        try:
            call(over, method, limits)
        except OverLimit as ended:
            said.append(ended)

    running = threading.Thread(target=run_over)
    running.start()
    served = [call(other, "pid") for _ in range(5)]
    running.join(30)
    assert [told in str(each) for each in said] == [True]
    assert served == [1] * 5, "each in a worker of its own, the first of its pid namespace"


def test_a_worker_of_its_own_is_gone_with_its_call(kernel: KernelProcess) -> None:
    link = kernel.link()
    with pytest.raises(OutcomeUnknown, match="died under the call"):
        call(link, "dies")
    table: process.Processes = link.call(process.LIST, process.ListProcesses())
    assert [each.name for each in table.processes if each.kind == "tool"] == []
    assert call(link, "pid") == 1


def test_a_worker_of_many_that_prints_too_fast_is_ended_for_it(kernel: KernelProcess) -> None:
    link = kernel.link()
    with pytest.raises(OverLimit, match="the worker of tool loud was ended: output: 64 KiB/s"):
        call(link, "prints", device="loud")
    assert call(link, "pid", device="loud") == 1, "there is another"


def test_they_are_given_on_the_command_line(
    kernel: KernelProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERNOS_SOCKET", str(kernel.socket))
    assert execute(["device", "call", "hungry", "spins", "--limit", "cpu=1s"], Session()) == 1
    assert "hungry.spins was ended: cpu: 1 s" in capsys.readouterr().err
    assert execute(["device", "call", "hungry", "answers", "size=9000", "--limit", "answer=8k"], Session()) == 1
    assert "answer: 8 KiB" in capsys.readouterr().err
    assert execute(["device", "call", "hungry", "answers", "size=3", "--limit", "answer=8k"], Session()) == 0
    assert capsys.readouterr().out == "xxx\n"
    assert execute(["device", "call", "hungry", "pid", "--limit", "ram=8k"], Session()) == 2

"""Tools that yield, from a jailed worker of a real kernel, over real sockets."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Raw

from syscalls.calls import device as abi
from syscalls.codec import pack, unpack
from syscalls.link.blocking import BlockingLink
from tests.kernelproc import KernelProcess, kernel_up, until
from userland.cli.main import execute
from userland.cli.session import Session

TESTS = Path(__file__).parents[1]
CONFIG = f"""
default_model = "sim"
embedding = "sim"
store = "memory"

[models.sim]
origin = "sim:"

[tools.yielding]
program = "tests.yielding_tool:*"
rights = ["file:{TESTS}/** read"]
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelProcess]:
    with kernel_up(config=CONFIG) as kernel:
        yield kernel


def args(method: str, **arguments: object) -> abi.CallTool:
    return abi.CallTool(device="yielding", method=method, arguments=Raw(pack(arguments)))


def busy(link: BlockingLink) -> int:
    found: abi.Devices = link.call(abi.LIST, abi.ListDevices(kind="tool"))
    return next(each.busy for each in found.devices if each.name == "yielding")


def test_items_come_from_a_jailed_worker(kernel: KernelProcess) -> None:
    link = kernel.link()
    items = [unpack(dict, item.value) for item in link.stream(abi.STREAM, args("ticks", to=500))]
    assert [each["n"] for each in items] == list(range(500))
    assert {each["pid"] for each in items} != {kernel.child.pid}


def test_a_reader_that_goes_ends_the_tool(kernel: KernelProcess) -> None:
    link, other = kernel.link(), kernel.link()
    stream = link.stream(abi.STREAM, args("waits"))
    assert next(stream).text == "first"
    assert busy(other) == 1
    stream.close()
    until(lambda: busy(other) == 0)
    second = link.stream(abi.STREAM, args("waits"))
    assert next(second).text == "first"
    link.close()
    until(lambda: busy(other) == 0)


def test_a_tool_is_called_from_a_shell(
    kernel: KernelProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERNOS_SOCKET", str(kernel.socket))
    assert execute(["device", "call", "yielding", "ticks", "to=3", "-o", "json"], Session()) == 0
    assert [json.loads(line)["n"] for line in capsys.readouterr().out.splitlines()] == [0, 1, 2]
    assert execute(["device", "call", "calculator", "calculate", "expression=6 * 7"], Session()) == 0
    assert capsys.readouterr().out == "42\n"
    assert execute(["device", "call", "calculator", "calculate", "6 * 7"], Session()) == 2
    assert execute(["device", "call", "gone", "x"], Session()) == 3

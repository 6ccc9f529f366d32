"""System calls of packages: rows that come and go, served by the package's worker, by a right of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

from kernos.testing import up
from kernos.testing.machine import InProcess
from syscalls.calls import plugin
from syscalls.calls.plugin import LEND, PLUGIN_NUMBERS, plugin_row
from syscalls.errors import Invalid, NoSyscall, NotFound, PermissionDenied
from syscalls.package import RECORD, Installed, Manifest, write_json
from syscalls.table import BY_NAME, TABLE
from syscalls.turns import ToolCall
from userland.door.routes import Routes
from userland.door.server import Request
from userland.sdk.program import program
from userland.sdk.system import Sys

MODULE = "tests.plugin_module"
CALLS = {"double": f"{MODULE}:*", "who-asks": f"{MODULE}:*", "may-ask": f"{MODULE}:*", "fails": f"{MODULE}:fails"}


def install(
    folder: Path, *, name: str = "doubler", calls: dict[str, str] | None = None, rights: tuple[str, ...] = ()
) -> None:
    """Writes the record of a package whose modules are this repository's."""
    manifest = Manifest(name=name, version="1.0", syscalls=CALLS if calls is None else calls)
    record = Installed(manifest=manifest, release="1.0-abc", sha256="0" * 64, granted=rights)
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / RECORD).write_bytes(write_json(record))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    install(tmp_path / "packages", rights=("topic:news publish",))
    return tmp_path / "packages"


def kernel(packages: Path) -> InProcess:
    return up(
        config={"packages": str(packages)}, programs={"asks": asks, "agent": agent, "client": client, "lends": lends}
    )


@program
async def asks(sys: Sys, name: str, number: int) -> int:
    """Makes a call of a package."""
    return int((await sys.call_plugin(name, number=number)).value)


@program
async def agent(sys: Sys) -> list[str]:
    """Is told of the calls as tools, and uses them as a model would."""
    calls = await sys.plugin_calls()
    names = [spec.name for spec in calls.specs]
    told = [
        await calls(ToolCall("doubler_double", {"number": 4}, "1")),
        await calls(ToolCall("doubler_fails", {}, "2")),
        await calls(ToolCall("doubler_nothing", {}, "3")),
    ]
    return [*names, *told]


@program
async def client(sys: Sys, *asked: str) -> list[str]:
    """Asks its own MCP door what there is, and calls some of it."""
    doors = Routes(sys, key="k")

    async def rpc(method: str, **params: object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        response = await doors(Request("POST", "/mcp", {}, body))
        assert isinstance(response.body, bytes)
        return json.loads(response.body)

    tools = (await rpc("tools/list"))["result"]["tools"]
    told = [f"{each['name']}: {each['description']} {sorted(each['inputSchema']['properties'])}" for each in tools]
    for name in asked:
        given = {} if name.endswith("_odd") else {"number": 21}
        answer = await rpc("tools/call", name=name, arguments=given)
        told.append(answer["result"]["content"][0]["text"] if "result" in answer else answer["error"]["message"])
    return told


async def test_an_mcp_client_is_offered_the_calls_that_were_granted(packages: Path) -> None:
    rights = ("device:* list", "syscall:* list", "syscall:doubler.double call", "tool:calculator.* call",
              "device:calculator open")  # fmt: skip
    async with kernel(packages) as machine:
        tools = await machine.run("client", "doubler_double", "doubler_fails", rights=rights)
        assert tools[0].startswith("calculator_calculate: ")
        assert tools[1:3] == ["doubler_double: Twice the number. ['number']", "42"]
        assert tools[3].startswith("there is no tool 'doubler_fails' for this process")
        assert await machine.run("client", rights=("device:* list",)) == []


async def test_a_tool_that_cannot_say_what_it_serves_hides_no_other(packages: Path) -> None:
    """Nor does a package hold up another: all are asked at once."""
    install(packages, name="other", calls={"double": f"{MODULE}:double"})
    install(packages, name="third", calls={"double": f"{MODULE}:double"})
    config = {"packages": str(packages)}
    rights = ("device:* list", "device:* open", "tool:** call", "syscall:* list", "syscall:** call")
    async with up(config=config, tools={"broken": "tests.nothing:*"}, programs={"client": client}) as machine:
        states: list[set[str]] = []
        plugins = machine.machine.plugins
        machine.machine.processes.at_start.append(
            lambda process: states.append({each.tool.state for each in plugins.calls() if process.package})
        )
        tools = await machine.run("client", "other_double", rights=rights)
        assert tools[-1] == "42" and not any(tool.startswith("broken_") for tool in tools)
        assert any(tool.startswith("calculator_") for tool in tools)
        assert len([each for each in states if each]) == 4 and all("ready" not in each for each in states)


async def test_no_package_takes_the_calls_that_are_meant_for_another(packages: Path) -> None:
    """A dot and a dash are both no part of a tool's name."""
    install(packages, name="a-b", calls={"double": f"{MODULE}:double"})
    install(packages, name="a", calls={"b-double": f"{MODULE}:who_asks"})
    rights = ("device:* list", "syscall:* list", "syscall:** call")
    async with kernel(packages) as machine:
        found = (await machine.sys.plugin_calls()).by_tool
        assert {name: each.name for name, each in found.items() if name.startswith("a_b_")} == {
            "a_b_double": "a-b.double", "a_b_double_2": "a.b-double",
        }  # fmt: skip
        told = await machine.run("client", "a_b_double", rights=rights)
        assert told[-1] == "42" and sum(each.startswith("a_b_double") for each in told) == 2


async def test_what_json_cannot_say_is_told_as_text(packages: Path) -> None:
    install(packages, calls={"odd": f"{MODULE}:*"})
    async with kernel(packages) as machine:
        told = await machine.run("client", "doubler_odd", rights=("device:* list", "syscall:* list", "syscall:** call"))
        assert told[-1] == "{'a': {(1, 2): 3}}"


async def test_a_model_is_offered_the_calls_that_were_granted(packages: Path) -> None:
    async with kernel(packages) as machine:
        told = await machine.run("agent", rights=("syscall:* list", "syscall:doubler.double call"))
        assert told == ["doubler_double", "8", *[f"error: there is no tool {name}; there are doubler_double"
                        for name in ("doubler_fails", "doubler_nothing")]]  # fmt: skip


@program
async def lends(sys: Sys) -> list[list[str]]:
    """Lends a call what it holds, and does not."""
    handle = await sys.rights.attenuate("model:sim info")
    return [
        (await sys.call_plugin("doubler.who-asks")).value,
        (await sys.call_plugin("doubler.may-ask", call_lend=(handle,))).value,
        (await sys.call_plugin("doubler.may-ask")).value,
    ]


async def test_what_is_lent_counts_for_that_call_alone(packages: Path) -> None:
    async with kernel(packages) as machine:
        rights = ("syscall:doubler.** call", "model:* info")
        told = await machine.run("lends", rights=rights)
        assert told == [["topic:news publish"], "served", "EPERM"]
        with pytest.raises(PermissionDenied, match="capability 99999 is none"):
            await machine.sys._door.call(plugin_row("doubler.double"), {"number": 1, LEND: [99999]})
        with pytest.raises(Invalid, match="at most"):
            await machine.sys._door.call(plugin_row("doubler.double"), {"number": 1, LEND: [1] * 17})
        with pytest.raises(Invalid):
            await machine.sys._door.call(plugin_row("doubler.double"), {"number": 1, LEND: "x"})


@program
async def led(sys: Sys) -> list[str]:
    """Does as it is told by a model, or by who wrote what the model reads; it holds what nobody was lent."""
    handle = await sys.rights.attenuate("model:sim info")
    calls = await sys.plugin_calls()
    door = Routes(sys, key="k")
    told = []
    for name in (LEND, "call_lend", "call_limits"):
        arguments = {name: [handle.id]}
        told.append(await calls(ToolCall("doubler_may_ask", arguments, "1")))
        for tool in ("doubler_may_ask", "calculator_calculate"):
            params = {"name": tool, "arguments": arguments}
            asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            answer = await door(Request("POST", "/mcp", {}, json.dumps(asked).encode()))
            assert isinstance(answer.body, bytes)
            told.append(json.loads(answer.body)["result"]["content"][0]["text"])
    return told


async def test_no_argument_of_a_model_lends_anything_or_breaks_the_door(packages: Path) -> None:
    rights = ("device:* list", "syscall:* list", "syscall:doubler.* call", "tool:calculator.* call",
              "device:calculator open", "model:* info")  # fmt: skip
    async with up(config={"packages": str(packages)}, programs={"led": led}) as machine:
        told = await machine.run("led", rights=rights)
        assert "served" not in told
        assert told[0].startswith("error: doubler.may-ask has no argument '$lend': capabilities are lent by")
        assert all("argument" in each for each in told), told


async def test_a_call_of_a_package_is_a_row_with_a_right_and_a_number_of_its_own(packages: Path) -> None:
    async with kernel(packages) as machine:
        answer = await machine.sys.call_plugin("doubler.double", number=21)
        assert (answer.value, answer.text) == (42, "42")
        found: plugin.PluginCalls = await machine.sys.call("kernel.calls")
        by_name = {each.name: each for each in found.calls}
        assert set(by_name) == {f"doubler.{name}" for name in CALLS}
        double = by_name["doubler.double"]
        assert double.number in PLUGIN_NUMBERS and double.right == "syscall:doubler.double call"
        assert double.spec is not None and double.spec.description == "Twice the number."
        assert double.spec.parameters["properties"] == {"number": {"type": "integer"}}
        record = next(each for each in await machine.trace() if each.name == "doubler.double")
        assert record.right == "**" and "number=21" in record.args and "42" in record.result


async def test_who_lacks_its_right_is_refused_and_who_has_it_is_served(packages: Path) -> None:
    async with kernel(packages) as machine:
        held = ("syscall:doubler.double call",)
        assert await machine.run("asks", "doubler.double", 3, rights=held) == 6
        for rights in ((), ("syscall:doubler.fails call",), ("tool:doubler.double call",)):
            child = await machine.spawn("asks", "doubler.double", 3, rights=rights)
            exit_ = await machine.ended(child)
            assert exit_.status == "failed" and "lacks the right 'syscall:doubler.double call'" in exit_.error


async def test_it_runs_with_the_rights_of_its_package_and_not_of_its_caller(packages: Path) -> None:
    async with kernel(packages) as machine:
        assert (await machine.sys.call_plugin("doubler.who-asks")).value == ["topic:news publish"]


async def test_models_are_given_them_as_tools(packages: Path) -> None:
    async with kernel(packages) as machine:
        told = await machine.run("agent", rights=("syscall:* list", "syscall:** call"))
        assert sorted(told[:4]) == ["doubler_double", "doubler_fails", "doubler_may_ask", "doubler_who_asks"]
        assert told[4] == "8"
        assert told[5].startswith("error: ") and "no luck" in told[5]
        assert told[6].startswith("error: there is no tool doubler_nothing; there are ")


async def test_wrong_arguments_and_failures_are_told(packages: Path) -> None:
    async with kernel(packages) as machine:
        with pytest.raises(Invalid, match="number"):
            await machine.sys.call_plugin("doubler.double", number="x")
        with pytest.raises(OSError, match="no luck"):
            await machine.sys.call_plugin("doubler.fails")
        with pytest.raises(NoSyscall, match=r"there is no system call 'doubler.trebles'"):
            await machine.sys.call_plugin("doubler.trebles")
        with pytest.raises(NoSyscall, match=r"there is no system call 'process.nothing'"):
            await machine.sys.call_plugin("process.nothing")


async def test_rows_come_and_go_with_packages_and_numbers_stay(packages: Path) -> None:
    async with kernel(packages) as machine:

        async def numbers() -> dict[str, int]:
            await machine.sys.call("kernel.packages", look=True)
            found: plugin.PluginCalls = await machine.sys.call("kernel.calls")
            return {each.name: each.number for each in found.calls}

        before = await numbers()
        install(packages, calls={"double": f"{MODULE}:double"})
        install(packages, name="other", calls={"double": f"{MODULE}:double", "gone": f"{MODULE}:gone"})
        after = await numbers()
        assert after["doubler.double"] == before["doubler.double"]
        assert set(after) == {"doubler.double", "other.double", "other.gone"}
        assert len({*before.values(), *after.values()}) == 6
        assert (await machine.sys.call_plugin("other.double", number=1)).value == 2
        with pytest.raises(NoSyscall):
            await machine.sys.call_plugin("doubler.fails")
        only: plugin.PluginCalls = await machine.sys.call("kernel.calls", package="other")
        gone = next(each for each in only.calls if each.name == "other.gone")
        assert gone.spec is None and "gone" in gone.error
        with pytest.raises(NotFound, match="nobody"):
            await machine.sys.call("kernel.calls", package="nobody")


async def test_a_package_stands_in_for_no_call_of_the_table(packages: Path) -> None:
    install(packages, name="process", calls={"list": f"{MODULE}:double"})
    async with kernel(packages) as machine:
        by_name = await machine.sys._door.call(plugin_row("process.list"), {"all": True})
        assert by_name.text == "" and (await machine.sys.call("process.list", all=True)).processes
    assert not set(TABLE) & set(PLUGIN_NUMBERS) and "doubler.double" not in BY_NAME

"""Devices through the whole gate: tools that yield, handles shared and alone, collections of the store."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from kernel.accounts.account import Accounts
from kernel.handles import Handles
from kernel.sys.collection import collection_of
from kernel.workers.tool import AHEAD_ITEMS
from kernos import Sys, program, tool
from kernos.testing import up
from kernos.testing.machine import InProcess
from syscalls import worker
from syscalls.codec import pack
from syscalls.errors import Busy, Invalid, IOFailed, NotFound, TimedOut, TryAgain
from syscalls.limits import STREAM_CREDIT
from tests.devices import a_process
from tests.fakekernel import in_process
from userland.sdk.device import Collection
from userland.yielding import COLLECTED_MAX

HERE = {"here": f"{__name__}:*"}
AHEAD = STREAM_CREDIT + AHEAD_ITEMS + 2
"""How far a tool may run ahead of its reader: what the reader's end, the kernel and the worker hold."""


class Told:
    """What the tools did, seen from outside: in these tests they run in the same process."""

    made = 0
    ended = ""


@tool
async def counts(to: int, pause_s: float = 0.0) -> AsyncIterator[int]:
    """Counts."""
    Told.made, Told.ended = 0, ""
    try:
        for n in range(to):
            if pause_s:
                await trio.sleep(pause_s)
            Told.made += 1
            yield n
        Told.ended = "whole"
    except BaseException as cut:
        Told.ended = type(cut).__name__
        raise


@tool
def letters(word: str) -> Iterator[str]:
    """Spells."""
    yield from word


@tool
async def breaks(after: int) -> AsyncIterator[int]:
    """Fails."""
    for n in range(after):
        yield n
    raise RuntimeError("on purpose")


@tool
def plain(x: int) -> int:
    """Doubles."""
    return 2 * x


async def taken(machine: InProcess, method: str, **arguments: Any) -> list[Any]:
    found = []
    async with machine.sys.device("here").stream(method, **arguments) as items:
        async for each in items:
            found.append(each)
    return found


async def test_what_a_tool_yields_comes_one_by_one(autojump_clock: trio.abc.Clock) -> None:
    async with up(tools=HERE) as machine:
        assert await taken(machine, "counts", to=200) == list(range(200))
        assert Told.ended == "whole"
        assert await taken(machine, "letters", word="äbc") == ["ä", "b", "c"]
        assert await taken(machine, "plain", x=4) == [8]
        assert await taken(machine, "counts", to=0) == []
        async with await machine.sys.open_device("here") as device:
            assert set(device.streaming) == {"counts", "letters", "breaks"}
            assert "plain" in {spec.name for spec in device.methods}
            async with device.stream("counts", to=3) as items:
                assert [each async for each in items] == [0, 1, 2]


async def test_a_slow_reader_slows_the_tool(autojump_clock: trio.abc.Clock) -> None:
    async with up(tools=HERE) as machine:
        async with machine.sys.device("here").stream("counts", to=100_000) as items:
            for n in range(300):
                assert await items.__anext__() == n
                if n % 100 == 0:
                    await trio.sleep(1000)
                    assert n < Told.made <= n + AHEAD


async def test_a_reader_that_leaves_ends_the_tool(autojump_clock: trio.abc.Clock) -> None:
    async with up(tools=HERE) as machine:
        async with machine.sys.device("here").stream("counts", to=100_000, pause_s=1.0) as items:
            assert await items.__anext__() == 0
        await trio.sleep(5)
        assert Told.ended == "Cancelled"
        assert machine.machine.devices.tools["here"].busy == 0
        async with machine.sys.device("here").stream("counts", to=100_000) as items:
            assert await items.__anext__() == 0
        await trio.sleep(5)
        assert Told.ended in ("GeneratorExit", "Cancelled") and Told.made <= AHEAD
        assert await taken(machine, "counts", to=3) == [0, 1, 2]


async def test_a_tool_that_never_waits_is_cancelled_all_the_same() -> None:
    async with in_process() as kernel:
        await kernel.link.call(worker.DESCRIBE, worker.Describe(program=f"{__name__}:*"))
        asked = worker.Invoke(method="counts", arguments=Raw(pack({"to": 20_000})))
        async with kernel.link.stream(worker.STREAM, asked, credit=1 << 20) as stream:
            await stream.__anext__()
        await trio.testing.wait_all_tasks_blocked()
        assert Told.made < 20_000 and Told.ended in ("GeneratorExit", "Cancelled")


async def test_a_tool_that_fails_gives_what_it_had(autojump_clock: trio.abc.Clock) -> None:
    async with up(tools=HERE) as machine:
        found: list[int] = []
        with pytest.raises(IOFailed, match="RuntimeError: on purpose"):
            async with machine.sys.device("here").stream("breaks", after=3) as items:
                async for each in items:
                    found.append(each)
        assert found == [0, 1, 2]
        with pytest.raises(TimedOut, match=r"had not ended in 2\.5 s"):
            async with machine.sys.device("here").stream("counts", call_timeout_s=2.5, to=9, pause_s=1.0) as items:
                found = [each async for each in items]
        await trio.sleep(1)
        assert Told.ended == "Cancelled"


async def test_a_call_of_a_tool_that_yields_returns_a_list(autojump_clock: trio.abc.Clock) -> None:
    async with up(tools=HERE) as machine:
        assert (await machine.sys.call_tool("here", "counts", to=3)).value == [0, 1, 2]
        assert (await machine.sys.tool("here").letters(word="ab")) == ["a", "b"]
        with pytest.raises(Invalid, match=f"yields more than {COLLECTED_MAX} items: take them with device.stream"):
            await machine.sys.call_tool("here", "counts", to=COLLECTED_MAX + 1)
        assert Told.made == COLLECTED_MAX + 1


async def test_nonsense_is_refused(autojump_clock: trio.abc.Clock) -> None:
    async with up(tools=HERE) as machine:
        with pytest.raises(NotFound, match="has no method 'sings'"):
            await taken(machine, "sings")
        with pytest.raises(Invalid, match="to"):
            await taken(machine, "counts")
        for name, why in (("sim", "kind embedding"), ("sim@1", "kind model"), ("store", "name a collection")):
            with pytest.raises(Invalid, match=why):
                await machine.sys.open_device(name)
        with pytest.raises(NotFound, match="no device 'gone'; there are: calculator, glossary, here, memory"):
            await machine.sys.open_device("gone")
        with pytest.raises(Invalid, match="only stores have collections"):
            await machine.sys.call("device.open", device="here", collection="c")
        with pytest.raises(NotFound, match="no device handle 77"):
            await machine.sys.call("device.close", handle=77)
        with pytest.raises(Invalid, match="open a collection of it"):
            await machine.sys.call_tool("store", "ids")
        async with await machine.sys.open_device("here") as held:
            with pytest.raises(Invalid, match=f"handle {held.handle} is on here, not on calculator"):
                await machine.sys.call("device.call", device="calculator", method="calculate", handle=held.handle)


@program
async def holds(sys: Sys, alone: bool) -> str:
    await sys.open_device("here", exclusive=alone)
    await sys.receive()
    return "let go"


@program
async def asks(sys: Sys) -> list[str]:
    said = []
    try:
        said.append(str((await sys.call_tool("here", "plain", x=1)).value))
    except Busy as busy:
        said.append(busy.message)
    for alone in (False, True):
        try:
            async with await sys.open_device("here", exclusive=alone) as held:
                said.append(str((await held.call("plain", x=2)).value))
        except Busy as busy:
            said.append(busy.message)
    return said


async def test_what_is_held_alone_is_nobody_elses_until_its_process_ends(autojump_clock: trio.abc.Clock) -> None:
    async with up(tools=HERE) as machine:
        machine.know(asks)
        alone = await machine.spawn(holds, True)
        await trio.testing.wait_all_tasks_blocked()
        refused = f"process {alone.pid} holds here (tool) alone: wait until it closes it, or open it shared"
        assert await machine.run("asks") == [refused] * 3
        await alone.kill("KILL")
        await alone.ended()
        assert await machine.run("asks") == ["2", "4", "4"]
        assert len(machine.machine.handles) == 0
        too = await machine.spawn(holds, False)
        await trio.testing.wait_all_tasks_blocked()
        said = await machine.run("asks")
        assert said[:2] == ["2", "4"] and "here (tool) too" in said[2]
        await too.send("go")


@program
async def collects(sys: Sys, name: str) -> list[str]:
    async with await sys.collection(name) as mine:
        await mine.add({"a": "the cat sleeps", "b": "ships carry cargo"})
        return await mine.ids()


async def test_a_collection_finds_texts_by_meaning_and_is_its_principals(autojump_clock: trio.abc.Clock) -> None:
    async with up() as machine:
        store: Collection
        async with await machine.sys.collection("mine") as store:
            await store.add(
                {"cat": "the cat sleeps on the sill", "ship": "a ship carries cargo", "bread": "bread rises"}
            )
            hits = await store.query("where does the cat sleep", k=2)
            assert hits[0][0] == "cat" and hits[0][1] > hits[1][1]
            assert [hit[0] for hit in await store.query("cat", k=5, only=["ship"])] == ["ship"]
            await store.add_vectors(["own"], [[1.0] + [0.0] * 63])
            assert await store.ids() == ["bread", "cat", "own", "ship"]
            await store.delete("own", "nobody")
            assert await machine.run(collects, "mine") == ["a", "b", "bread", "cat", "ship"]
            assert await machine.run(collects, "other") == ["a", "b"]
            await store.clear()
            assert await store.ids() == []
            for method, arguments, why in (
                ("add", {"ids": [], "vectors": b""}, "0 ids: 1 to 4096"),
                ("add", {"ids": ["x"], "vectors": b"123"}, "float32|bytes|vector"),
                ("query", {"vector": b"\0" * 256, "k": 0}, "k 0"),
                ("query", {"nonsense": 1}, "nonsense|vector"),
            ):
                with pytest.raises(Invalid, match=why):
                    await store._device.call(method, **arguments)
            with pytest.raises(Invalid, match="1 ids and 0 vectors"):
                await store.add_vectors(["x"], [])
            with pytest.raises(NotFound, match="has no method 'drop'"):
                await store._device.call("drop")


@program
async def alone_with_a_collection(sys: Sys) -> str:
    await sys.collection("mine", exclusive=True)
    await sys.receive()
    return ""


async def test_a_collection_may_be_held_alone(autojump_clock: trio.abc.Clock) -> None:
    async with up() as machine:
        child = await machine.spawn(alone_with_a_collection)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Busy, match=f"process {child.pid} holds memory"):
            await machine.sys.collection("mine")
        async with await machine.sys.collection("other"):
            await child.send("go")
        await child.ended()
        async with await machine.sys.collection("mine", exclusive=True):
            pass


@program
async def tries(sys: Sys) -> list[str]:
    said = []
    for what in (
        lambda: sys.call_tool("here", "plain", x=1),
        lambda: sys.call_tool("here", "letters", word="x"),
        lambda: sys.open_device("here"),
        lambda: collects.function(sys, "c"),
    ):
        try:
            await what()
            said.append("")
        except PermissionError as denied:
            said.append(str(denied).partition("lacks the right ")[2].partition(" for ")[0])
    return said


async def test_every_method_needs_its_right(autojump_clock: trio.abc.Clock) -> None:
    async with up(tools=HERE) as machine:
        machine.know(tries)
        assert await machine.run("tries", rights=("tool:here.plain call",)) == [
            "",
            "'tool:here.letters call'",
            "'device:here open'",
            "'device:store open'",
        ]
        held = ("tool:here", "tool:here.*", "store:memory open", "store:*.add", "store:store.ids call", "model:* embed")
        assert await machine.run("tries", rights=held) == ["", "", "", ""]
        lacks_ids = (*held[:4], "model:* embed")
        assert (await machine.run("tries", rights=lacks_ids))[3] == "'store:store.ids call'"


def test_a_collection_of_another_principal_is_another() -> None:
    names = [collection_of("ann", "notes"), collection_of("bob", "notes"), collection_of("ann", "other")]
    assert len(set(names)) == 3 and all(name.startswith("u-") for name in names)


STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "alone", "close", "end"]), st.integers(0, 3), st.sampled_from(["a", "b"])),
    max_size=40,
)


@given(steps=STEPS)
def test_nobody_shares_what_somebody_holds_alone(steps: list[tuple[str, int, str]]) -> None:
    accounts = Accounts(lambda: 0.0)
    handles = Handles(each_max=3)
    processes = [a_process(accounts, pid=n + 1) for n in range(4)]
    held: dict[int, tuple[int, str, bool]] = {}
    for step, who, device in steps:
        process = processes[who]
        mine = [number for number, (pid, _, _) in held.items() if pid == process.pid]
        alone = step == "alone"
        on = [each for each in held.values() if each[1] == device]
        match step:
            case "open" | "alone":
                try:
                    handle = handles.open(process, device, kind="tool", alone=alone)
                except Busy:
                    assert any(each[2] for each in on) or (alone and on)
                except TryAgain:
                    assert len(mine) == 3
                else:
                    assert not any(each[2] for each in on) and not (alone and on) and len(mine) < 3
                    held[handle.number] = (process.pid, device, alone)
            case "close" if mine:
                handles.close(process, mine[0])
                del held[mine[0]]
            case "end":
                handles.release(process)
                held = {number: each for number, each in held.items() if each[0] != process.pid}
        for number, (pid, _, _) in held.items():
            assert handles.get(processes[pid - 1], number).number == number
            with pytest.raises(NotFound):
                handles.get(processes[pid % 4], number)
        assert len(handles) == len(held)

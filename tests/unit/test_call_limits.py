"""Limits of one call of a tool: who says them, which of them hold, and that they end nothing but the call.

Broken by: a caller who widens what the operator or the package said, a call that outlives its time, an answer that is
measured and given all the same.
"""

from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as some
from msgspec import ValidationError, convert
from msgspec.structs import asdict

from kernel.config import DEFAULT_LIMITS, Bounds
from kernel.workers.limit import lowered
from kernos.testing import up
from syscalls.errors import Invalid, NotFound, OutcomeUnknown, OverLimit, SyscallError
from syscalls.package import RECORD, Installed, Manifest, read_manifest, write_json
from syscalls.worker_limits import CallLimits, least, parse_call_limits
from userland.sdk.program import program
from userland.sdk.system import Sys

HUNGRY = {"hungry": "tests.hungry_tool:*"}
FIELDS = CallLimits.__struct_fields__


def limits() -> some.SearchStrategy[CallLimits]:
    return some.builds(CallLimits, **{field: some.none() | some.integers(1, 1 << 40) for field in FIELDS})


def install(folder: Path, *rights: str) -> None:
    """Writes the record of a package whose calls are limited to 5 s."""
    manifest = Manifest(
        name="greedy", version="1.0", syscalls={"waits": "tests.hungry_tool:*"}, call_limits=CallLimits(wall_s=5)
    )
    (folder / "greedy").mkdir(exist_ok=True)
    record = Installed(manifest=manifest, release="1.0-abc", sha256="0" * 64, granted=rights)
    (folder / "greedy" / RECORD).write_bytes(write_json(record))


@program
async def asks(sys: Sys) -> str:
    """Makes a call that has a worker of its own."""
    return str((await sys.call_tool("hungry", "answers", size=2)).value)


@given(some.lists(limits() | some.none(), max_size=4))
def test_what_anybody_says_holds(said: list[CallLimits | None]) -> None:
    found = asdict(least(*said))
    for field in FIELDS:
        amounts = [amount for each in said if each is not None and (amount := getattr(each, field)) is not None]
        assert found[field] == min(amounts, default=None)


@given(limits())
def test_a_worker_for_one_call_never_has_more_than_others(asked: CallLimits) -> None:
    try:
        found = lowered(DEFAULT_LIMITS, asked)
    except Invalid:
        return
    for field, most in asdict(DEFAULT_LIMITS).items():
        assert getattr(found, field) <= most
        said = getattr(asked, field, None)
        assert said is None or getattr(found, field) <= said


def test_they_are_written_as_people_write_them() -> None:
    assert parse_call_limits("cpu=2s,wall=1m, answer=64k") == CallLimits(cpu_s=2, wall_s=60, answer_bytes=64 << 10)
    with pytest.raises(ValueError, match="there are cpu, memory, wall, answer"):
        parse_call_limits("files=3")
    with pytest.raises(ValidationError, match="wall_s of a call is a number above 0"):
        convert({"wall_s": 0.0}, CallLimits)
    assert not CallLimits(answer_bytes=1).alone and CallLimits(wall_s=1).alone


def test_a_manifest_says_them() -> None:
    told = read_manifest(b'{"name": "a", "version": "1", "call_limits": {"cpu_s": 2, "wall_s": 0.5}}')
    assert told.call_limits == CallLimits(cpu_s=2, wall_s=0.5)
    assert read_manifest(write_json(told)) == told
    with pytest.raises(ValueError, match="call_limits"):
        read_manifest(b'{"name": "a", "version": "1", "call_limits": {"ram": 2}}')


async def test_a_call_that_is_out_of_time_ends_alone(autojump_clock: Any) -> None:
    async with up(tools=HUNGRY) as machine, trio.open_nursery() as nursery:
        tool = machine.machine.devices.tools["hungry"]
        shared = machine.sys.device("hungry")
        await shared.call("answers", size=1)
        nursery.start_soon(lambda: shared.call("waits"))
        with pytest.raises(OverLimit, match=r"hungry\.waits was ended: wall: 3 s"):
            await shared.call("waits", call_limits=CallLimits(wall_s=3))
        assert machine.machine.clock.now() >= 3
        assert (tool.state, tool.busy, tool.restarts) == ("ready", 1, 0)
        ended = [record for record in await machine.trace() if record.kind == "exit"]
        assert [record.detail["status"] for record in ended] == ["over_limit"]
        assert (await shared.call("answers", size=2, call_limits=CallLimits(wall_s=3))).value == "xx"
        nursery.cancel_scope.cancel()


async def test_an_answer_that_is_too_long_is_not_given(autojump_clock: Any) -> None:
    async with up(tools=HUNGRY) as machine:
        hungry = machine.sys.device("hungry")
        few = CallLimits(answer_bytes=1024)
        assert len((await hungry.call("answers", size=1000, call_limits=few)).value) == 1000
        with pytest.raises(OverLimit, match=r"hungry\.answers was ended: answer: 1 KiB"):
            await hungry.call("answers", size=1025, call_limits=few)
        taken = 0
        with pytest.raises(OverLimit, match="answer: 1 KiB"):
            async with hungry.stream("yields", size=100, call_limits=few) as items:
                async for _ in items:
                    taken += 1
        assert 8 <= taken <= 10, "what fitted was given"
        assert machine.machine.devices.tools["hungry"].restarts == 0


async def test_a_caller_says_less_than_the_operator_and_never_more(autojump_clock: Any) -> None:
    config = {"call_limits": {"*": {"answer_bytes": 4096}, "hungry": {"wall_s": 2.0}}}
    async with up(tools=HUNGRY, config=config) as machine:
        hungry = machine.sys.device("hungry")
        with pytest.raises(OverLimit, match="wall: 2 s"):
            await hungry.call("waits", call_limits=CallLimits(wall_s=100))
        with pytest.raises(OverLimit, match="wall: 1 s"):
            await hungry.call("waits", call_limits=CallLimits(wall_s=1))
        with pytest.raises(OverLimit, match="answer: 4 KiB"):
            await hungry.call("answers", size=5000, call_limits=CallLimits(answer_bytes=1 << 20))


async def test_a_package_limits_the_calls_that_it_serves(tmp_path: Path, autojump_clock: Any) -> None:
    install(tmp_path)
    async with up(config={"packages": str(tmp_path)}) as machine:
        with pytest.raises(OverLimit, match=r"waits was ended: wall: 5 s"):
            await machine.sys.call_plugin("greedy.waits")


async def test_one_caller_has_a_few_workers_of_its_own_and_others_theirs(autojump_clock: Any) -> None:
    """Each is an OS process: calls that wait cost no more than a call."""
    config = {"call_limits": {"hungry": {"wall_s": 3.0}}}
    async with up(tools=HUNGRY, config=config, bounds=Bounds(own_workers_max=2), programs={"asks": asks}) as machine:
        hungry, alive = machine.sys.device("hungry"), []
        ended: list[float] = []

        async def over(method: str) -> None:
            with pytest.raises(OverLimit):
                await hungry.call(method)
            ended.append(machine.machine.clock.now())

        async with trio.open_nursery() as nursery:
            began = machine.machine.clock.now()
            for _ in range(5):
                nursery.start_soon(over, "waits")
            await trio.sleep(1)
            alive = [process for process in machine.machine.processes if process.name == "hungry"]
            assert await machine.run("asks", rights=("tool:hungry.** call",)) == "xx", "another's does not wait"
        assert len(alive) == 2
        assert [round(at - began) for at in ended] == [3, 3, 6, 6, 9]
        assert machine.machine.plugins.own_workers.held == {}


@pytest.mark.parametrize("removed", [True, False])
async def test_what_is_taken_from_a_package_is_taken_from_its_calls_under_way(
    tmp_path: Path, autojump_clock: Any, removed: bool
) -> None:
    """Of one that has a worker of its own, and of one that waits for its turn to have one."""
    install(tmp_path, "topic:news publish")
    async with up(config={"packages": str(tmp_path)}, bounds=Bounds(own_workers_max=1)) as machine:
        told: list[SyscallError] = []

        async def call() -> None:
            with pytest.raises((OutcomeUnknown, NotFound)) as ended:
                await machine.sys.call_plugin("greedy.waits")
            told.append(ended.value)

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(call)
                await trio.sleep(1)
            if removed:
                (tmp_path / "greedy" / RECORD).unlink()
            else:
                install(tmp_path)
            await machine.sys.call("kernel.packages", look=True)
            await trio.sleep(1)
            assert [process for process in machine.machine.processes if process.kind == "tool"] == []
            assert {type(each) for each in told} == {OutcomeUnknown, NotFound}, "one had begun"
            assert all("was taken away, or is another now" in str(each) for each in told)


async def test_what_makes_no_sense_is_refused(autojump_clock: Any) -> None:
    async with up(tools=HUNGRY) as machine:
        hungry = machine.sys.device("hungry")
        with pytest.raises(Invalid, match="memory: 1 MiB is too little to start"):
            await hungry.call("pid", call_limits=CallLimits(memory_bytes=1 << 20))
        with pytest.raises(NotFound, match="no method 'eats'; it has: spins"):
            await hungry.call("eats", call_limits=CallLimits(wall_s=1))
        with pytest.raises(Invalid, match="only calls of tools have limits"):
            collection = await machine.sys.open_device("hungry")
            await collection.close()
            await machine.sys.device("store").call("ids", call_limits=CallLimits(wall_s=1))

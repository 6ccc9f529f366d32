"""A capability lent with a tool call: the tool has it for that call alone, and its own calls of another call do not."""

from typing import Any

import pytest
import trio

from kernos import Sys, program, tool
from kernos.testing import up
from syscalls.calls import device
from syscalls.errors import Invalid, PermissionDenied, SyscallError

HERE = {"here": f"{__name__}:*"}
RIGHTS = ("tool:here.* call,stream,list", "model:*", "process:self")


class Kept:
    """The handles of calls that are over, for a tool that does not let go."""

    systems: list[Sys] = []
    together: trio.Event


@tool
async def looks(sys: Sys, model: str = "sim") -> str:
    """Asks the kernel about a model, with whatever right it has."""
    Kept.systems.append(sys)
    return await errno_of(sys, model)


@tool
async def waits_and_looks(sys: Sys) -> str:
    """Looks when it is told to."""
    await Kept.together.wait()
    return await errno_of(sys, "sim")


@tool
async def looks_twice(sys: Sys) -> Any:
    """Yields what it sees."""
    for _ in range(2):
        yield await errno_of(sys, "sim")


async def errno_of(sys: Sys, model: str) -> str:
    try:
        await sys.call("model.info", model=model)
    except SyscallError as refused:
        return refused.errno.name
    return "served"


@program
async def lends(sys: Sys) -> list[str]:
    handle = await sys.rights.attenuate("model:sim info")
    seen = [(await sys.call_tool("here", "looks")).text]
    seen.append((await sys.device("here").call("looks", call_lend=(handle,))).text)
    seen.append((await sys.call_tool("here", "looks")).text)
    return seen


@program
async def lends_to_one_of_two(sys: Sys) -> list[str]:
    handle = await sys.rights.attenuate("model:sim info")
    here, seen = sys.device("here"), ["", ""]

    async def ask(at: int, *lent: Any) -> None:
        seen[at] = (await here.call("waits_and_looks", call_lend=lent)).text

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 0, handle)
        nursery.start_soon(ask, 1)
        await sys.sleep(1)
        Kept.together.set()
    return seen


@program
async def streams(sys: Sys) -> list[str]:
    handle = await sys.rights.attenuate("model:sim info")
    async with sys.device("here").stream("looks_twice", call_lend=(handle,)) as items:
        return [item async for item in items]


@program
async def lends_another_s(sys: Sys, number: int) -> str:
    try:
        await sys.call(device.CALL, device="here", method="looks", lend=(number,))
    except PermissionDenied as refused:
        return refused.message
    return "lent"


@program
async def revokes_meanwhile(sys: Sys) -> str:
    handle = await sys.rights.attenuate("model:sim info")
    seen = ""

    async def ask() -> None:
        nonlocal seen
        seen = (await sys.device("here").call("waits_and_looks", call_lend=(handle,))).text

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await sys.sleep(1)
        await handle.revoke("second thoughts")
        Kept.together.set()
    return seen


async def test_what_is_lent_counts_for_that_call_and_dies_with_it(autojump_clock: Any) -> None:
    Kept.systems.clear()
    async with up(tools=HERE) as machine:
        assert await machine.run(lends, rights=RIGHTS) == ["EPERM", "served", "EPERM"]
        kept = Kept.systems[1]
        assert await errno_of(kept, "sim") == "EPERM", "the handle of a call that is over"
        served = machine.machine.devices.tools["here"].process
        assert served is not None and not served.lent and not served.rights
        kinds = [record.kind for record in await machine.trace() if record.kind in ("lend", "revoke")]
        assert kinds == ["lend", "revoke"]


async def test_two_calls_at_once_do_not_share_what_one_was_lent(autojump_clock: Any) -> None:
    Kept.together = trio.Event()
    async with up(tools=HERE) as machine:
        assert await machine.run(lends_to_one_of_two, rights=RIGHTS) == ["served", "EPERM"]


async def test_what_is_lent_falls_with_what_it_was_made_from(autojump_clock: Any) -> None:
    Kept.together = trio.Event()
    async with up(tools=HERE) as machine:
        assert await machine.run(revokes_meanwhile, rights=RIGHTS) == "EPERM"


async def test_a_streaming_tool_has_it_until_its_last_item(autojump_clock: Any) -> None:
    async with up(tools=HERE) as machine:
        assert await machine.run(streams, rights=RIGHTS) == ["served", "served"]


async def test_nobody_lends_what_is_another_s(autojump_clock: Any) -> None:
    async with up(tools=HERE) as machine:
        (mine,) = await machine.sys.rights.list()
        assert f"capability {mine.id} is none" in await machine.run(lends_another_s, mine.id, rights=RIGHTS)
        with pytest.raises(Invalid, match="16 at most"):
            await machine.sys.call(device.CALL, device="here", method="looks", lend=(mine.id,) * 17)


async def test_a_tool_s_sys_is_no_parameter_of_its(autojump_clock: Any) -> None:
    async with up(tools=HERE) as machine:
        opened = await machine.sys.open_device("here")
        schemas = {spec.name: spec.parameters for spec in opened.methods}
        assert list(schemas["looks"]["properties"]) == ["model"] and schemas["waits_and_looks"]["properties"] == {}

"""What goes wrong beside the kernel costs the one it goes wrong for: tools, hosts, peers, programs."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from msgspec import Raw

from kernel.clock import Clock
from kernel.config import Bounds
from kernel.hosts.host import Host
from kernel.hosts.host_books import HostBooks
from kernel.hosts.host_process import HostProcess
from kernel.panic import KernelPanic, contain
from kernel.process import LOG_CHARS_MAX
from kernel.sys.message import _in_line
from kernel.watch.trace import Trace
from kernos import Sys, program
from kernos.testing import up
from syscalls import driver
from syscalls.calls import device, kernel, message, model, process
from syscalls.codec import pack
from syscalls.errors import Invalid, IOFailed, NoSuchProcess, NotFound, SyscallError, TimedOut, TryAgain
from syscalls.signals import Signal
from syscalls.wire import NIL
from tests.devices import Bench


@program
async def shouts(sys: Sys, text: str) -> None:
    await sys.call("process.output", process.Output(stream="stdout", text=text))


@program
async def idles(sys: Sys) -> None:
    await sys.sleep(1e9)


BEGUN: list[int] = []


@program
async def begins(sys: Sys) -> None:
    BEGUN.append(sys.pid)
    await sys.sleep(1e9)


@program
async def spawns(sys: Sys, rights: list[str]) -> int:
    child = await sys.spawn("idles", rights=tuple(rights))
    return child.pid


async def refused(asking: Awaitable[Any]) -> SyscallError:
    try:
        await asking
    except SyscallError as error:
        return error
    raise AssertionError("it was not refused")


async def test_a_tool_that_cannot_be_loaded_fails_its_callers_and_is_tried_again(autojump_clock: Any) -> None:
    async with up(tools={"broken": "no_such_module:thing"}) as machine:
        call = device.CallTool(device="broken", method="x", arguments=Raw(pack({})))
        first = await refused(machine.sys.call("device.call", call))
        assert "no_such_module" in str(first)
        assert [d.state for d in machine.machine.devices.devices() if d.name == "broken"] == ["failed"]
        tool = machine.machine.devices.tools["broken"]
        tries = tool.restarts
        await refused(machine.sys.call("device.call", call))
        assert tool.restarts == tries, "it was refused at once"
        await trio.sleep(10)
        await refused(machine.sys.call("device.call", call))
        assert tool.restarts == tries + 1


async def test_a_full_table_fails_a_tools_callers_only(autojump_clock: Any) -> None:
    async with up(bounds=Bounds(processes_max=3)) as machine:
        machine.machine.processes.add(
            parent=machine.machine.processes.get(1), principal="test", kind="session", name="another",
            account=machine.machine.accounts.overhead, rights=(),
        )  # fmt: skip
        call = device.CallTool(device="calculator", method="calculate", arguments=Raw(pack({"expression": "1"})))
        assert isinstance(await refused(machine.sys.call("device.call", call)), TryAgain)
        for extra in [p for p in machine.machine.processes if p.name == "another"]:
            machine.machine.processes.ended(extra, process.Exit(pid=extra.pid, status="done"))
        await trio.sleep(10)
        assert (await machine.sys.call("device.call", call)).text == "1"


async def test_however_much_a_program_prints_it_can_be_read_and_is_bounded(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(shouts, "\N{CUP WITH STRAW}" * 100_000)
        await child.ended()
        assert (await machine.printed(child.pid)) == "\N{CUP WITH STRAW}" * 100_000
        child = await machine.spawn(shouts, "x" * 3_000_000)
        await child.ended()
        assert machine.machine.processes.lately(child.pid).log_chars <= LOG_CHARS_MAX
        assert len(await machine.printed(child.pid)) <= LOG_CHARS_MAX


async def test_a_name_too_long_for_a_frame_harms_nobody(autojump_clock: Any) -> None:
    async with up() as machine:
        wide = "\N{CUP WITH STRAW}" * 16_000
        assert isinstance(await refused(machine.sys.call("process.spawn", process.Spawn(program=wide))), Invalid)
        machine.know(idles)
        asked = process.Spawn(program="idles", name=wide)
        pid = (await machine.sys.call("process.spawn", asked)).pid
        assert len((await machine.trace())[-1].detail.get("name", "")) < 1000
        await machine.sys.call("process.kill", process.Kill(pid=pid, signal=9))


async def test_killed_before_it_began_it_never_begins(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(idles)
        target = machine.machine.processes.get(child.pid)
        fresh = machine.machine
        account = fresh.accounts.open(target.account.parent, name="p", principal="test")
        unborn = fresh.processes.add(
            parent=target.parent, principal="test", kind="program", name="unborn", account=account, rights=()
        )
        machine.know(begins)
        spawn = process.Spawn(program="begins")
        fresh.executor.start(unborn, fresh.executor.image("begins"), spawn, spawn.args)
        fresh.executor.signal(unborn, Signal.KILL)
        with trio.fail_after(1):
            await unborn.ended.wait()
        assert unborn.exit is not None and unborn.exit.status == "killed"
        assert unborn.pid not in BEGUN
        await child.kill("KILL")


async def test_when_the_machine_goes_down_in_disorder_every_end_is_told(autojump_clock: Any) -> None:
    ended: list[trio.Event] = []

    async def crash() -> None:
        async with up() as machine:
            child = await machine.spawn(idles)
            ended.append(machine.machine.processes.get(child.pid).ended.event)
            machine.machine.executor._nursery.cancel_scope.cancel()  # type: ignore[union-attr]
            await trio.sleep(1)

    with trio.move_on_after(60) as patience:
        await crash()
    assert not patience.cancelled_caught
    assert ended[0].is_set()


async def test_messages_are_bounded_in_bytes(autojump_clock: Any) -> None:
    async with up(bounds=Bounds(mailbox_bytes_max=1000)) as machine:
        pid = (await machine.spawn(idles)).pid
        assert isinstance(await refused(machine.sys.call("message.send", send(pid, 2000))), Invalid)
        await machine.sys.call("message.send", send(pid, 600))
        assert isinstance(await refused(machine.sys.call("message.send", send(pid, 600))), TimedOut)
        await machine.sys.call("process.kill", process.Kill(pid=pid, signal=9))


def send(pid: int, size: int) -> message.Send:
    return message.Send(pid=pid, body=Raw(pack("x" * size)), timeout_s=1)


async def test_of_those_who_wait_for_room_as_many_are_woken_as_there_is_room_for(autojump_clock: Any) -> None:
    async with up(bounds=Bounds(mailbox_messages_max=2)) as machine, trio.open_nursery() as nursery:
        own, woken = machine.sys.pid, 0
        target = machine.machine.processes.get(own)

        async def send(number: int) -> None:
            await machine.sys.call("message.send", message.Send(pid=own, body=Raw(pack(number))))

        class Line(dict[trio.Event, int]):
            def __delitem__(self, room: trio.Event) -> None:
                nonlocal woken
                woken += 1
                super().__delitem__(room)

        target.senders = Line()
        for number in range(200):
            nursery.start_soon(send, number)
        await trio.testing.wait_all_tasks_blocked()
        assert len(target.senders) == 198
        seen = []
        for _ in range(200):
            seen.append(msgspec.msgpack.decode((await machine.sys.call("message.receive", message.Receive())).body))
            await trio.testing.wait_all_tasks_blocked()
        assert sorted(seen) == list(range(200)) and woken == 198


async def test_room_that_was_meant_for_one_who_gave_up_is_another_s(autojump_clock: Any) -> None:
    target, bounds, scope = Bench().process(), Bounds(), trio.CancelScope()

    async def gives_up() -> None:
        with scope:
            await _in_line(target, 1, bounds)

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gives_up)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(_in_line, target, 1, bounds)
            await trio.testing.wait_all_tasks_blocked()
            first, _ = target.senders
            scope.cancel()
            first.set()
    assert not target.senders


async def test_who_waits_for_room_hears_of_the_end(autojump_clock: Any) -> None:
    async with up(bounds=Bounds(mailbox_messages_max=1)) as machine, trio.open_nursery() as nursery:
        child = await machine.spawn(idles)
        send = message.Send(pid=child.pid, body=NIL)
        await machine.sys.call("message.send", send)
        told: list[SyscallError] = []

        async def another() -> None:
            told.append(await refused(machine.sys.call("message.send", send)))

        nursery.start_soon(another)
        await trio.testing.wait_all_tasks_blocked()
        await child.kill("KILL")
        await child.ended()
        await trio.testing.wait_all_tasks_blocked()
        assert [type(each) for each in told] == [NoSuchProcess]


async def test_a_mailbox_gives_back_what_was_taken(autojump_clock: Any) -> None:
    async with up(bounds=Bounds(mailbox_bytes_max=1000)) as machine:
        own = machine.sys.pid
        for _ in range(5):
            await machine.sys.call("message.send", send(own, 900))
            await machine.sys.call("message.receive", message.Receive())
        assert machine.machine.processes.get(own).mailbox_bytes == 0


async def test_a_child_is_not_shown_where_links_lead(autojump_clock: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "mine" / "part").mkdir()
    held = (f"file:{tmp_path}/mine/** read", "program:* spawn", "process:children")
    async with up() as machine:
        machine.know(idles)
        with pytest.raises(Exception, match="secret"):
            await machine.run(spawns, [f"file:{tmp_path}/mine/link/** read"], rights=held)
        assert await machine.run(spawns, [f"file:{tmp_path}/mine/part/** read"], rights=held)


async def test_rights_of_a_child_are_bounded(autojump_clock: Any) -> None:
    async with up() as machine:
        machine.know(idles)
        many = tuple(f"model:m{n}" for n in range(5000))
        asked = process.Spawn(program="idles", rights=many)
        assert "use wildcards" in str(await refused(machine.sys.call("process.spawn", asked)))


async def test_a_bug_in_a_handler_costs_one_call_and_a_panic_the_machine() -> None:
    assert "RuntimeError" in contain(RuntimeError("odd"))
    with pytest.raises(ExceptionGroup):
        contain(ExceptionGroup("tasks", [ExceptionGroup("more", [KernelPanic("two of one")])]))


async def test_a_trace_of_one_process_takes_its_reader_along(autojump_clock: Any) -> None:
    """However its records lie in the ring: the reader's room is asked for by what was sent."""
    async with up(bounds=Bounds(stream_items_max=600)) as machine:
        for n in range(3000):
            machine.machine.trace.event("odd" if n % 2 else "even", pid=77 if n % 2 else 78)
        for pid in (77, 78):
            shown = [r async for r in machine.sys.stream("kernel.trace", kernel.Trace(pid=pid))]
            assert len(shown) == 1500


# Hosts that fail.


def host(start: Callable[[str, Path], Awaitable[HostProcess]], **bounds: Any) -> Host:
    return Host(
        "m", "sim", driver.Open(kind="model", origin="sim:"), bounds=Bounds(**bounds), trace=Trace(Clock(), 100),
        logs=Path("/nowhere"), start=start, books=HostBooks(lambda read, generated: None),
    )  # fmt: skip


async def test_a_host_that_cannot_be_started_is_tried_again_later(autojump_clock: Any) -> None:
    starts = 0

    async def start(name: str, log: Path) -> HostProcess:
        nonlocal starts
        starts += 1
        raise IOFailed("no space left for the log")

    device_ = host(start, host_restarts_max=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(device_.run)
        with pytest.raises(IOFailed, match="no space left"):
            await device_.ready()
        assert starts == 2
        with pytest.raises(IOFailed, match="no space left"):
            await device_.ready()
        assert starts == 2, "whoever comes at once is told the same"
        await trio.sleep(30)
        with pytest.raises(IOFailed, match="no space left"):
            await device_.ready()
        assert starts == 4
        nursery.cancel_scope.cancel()


async def test_only_the_operator_is_let_in_when_programs_fill_the_table(autojump_clock: Any) -> None:
    async with up(bounds=Bounds(processes_max=16)) as machine:
        machine.know(idles)
        pids = []
        with pytest.raises(TryAgain):
            for _ in range(20):
                pids.append((await machine.sys.call("process.spawn", process.Spawn(program="idles"))).pid)
        init = machine.machine.processes.get(1)
        extra = machine.machine.processes.add(
            parent=init, principal="op", kind="session", name="s", account=init.account, rights=()
        )
        machine.machine.processes.ended(extra, process.Exit(pid=extra.pid, status="done"))
        for pid in pids:
            await machine.sys.call("process.kill", process.Kill(pid=pid, signal=9))


def adding(seed: int) -> model.AddModel:
    return model.AddModel(name="twin", origin="sim:", driver="sim", options={"seed": str(seed), "script": "[]"})


async def test_models_registered_at_once_under_one_name_are_two_versions(autojump_clock: Any) -> None:
    async with up() as machine:
        refs: list[str] = []

        async def add(n: int) -> None:
            refs.append((await machine.sys.call("model.add", adding(n))).ref)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add, 1)
            nursery.start_soon(add, 2)
        assert sorted(refs) == ["twin@1", "twin@2"]


async def test_a_model_that_could_not_be_written_down_is_not_there(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with up() as machine:

        async def full(work: object) -> None:
            raise IOFailed("the disk is full")

        monkeypatch.setattr(machine.machine.truth, "commit", full)
        assert "full" in str(await refused(machine.sys.call("model.add", adding(1))))
        monkeypatch.undo()
        assert isinstance(await refused(machine.sys.call("model.info", model.ModelName(model="twin"))), NotFound)
        assert (await machine.sys.call("model.add", adding(1))).ref == "twin@1"

"""The gate: no call without its right, whichever way it is served; held calls, cancelled calls, forged channels."""

import itertools
import sys
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from kernel.derivation import HELD_MAX
from kernel.doors.session import Sole
from kernel.gate import UNREAD_TOTALS_MAX
from kernel.link import CALLS_AT_ONCE, KernelLink
from kernel.messages.pipe import Pipes
from kernel.process import Process
from kernel.workers import exec as exec_
from kernos import Sys, program
from kernos.testing import up
from syscalls.calls import (
    account,
    admission,
    capability,
    clock,
    command,
    context,
    device,
    file,
    kernel,
    message,
    model,
    net,
    package,
    plugin,
    process,
    signalling,
    watch,
)
from syscalls.codec import pack
from syscalls.errors import Errno, Invalid, NoSuchProcess, SyscallError, TimedOut
from syscalls.limits import CLIENT_LIMITS, PeerLimits
from syscalls.link.duplex import Duplex, NoServer
from syscalls.peer import Peer
from syscalls.rights import NAME_CHARS_MAX
from syscalls.row import Row
from syscalls.table import FREE, TABLE
from syscalls.wire import NIL, End, Error, Hello
from syscalls.worker import Run
from tests.turns import counted
from userland.link import run

ARGUMENTS: dict[str, Any] = {
    "process.spawn": process.Spawn(program="tries"),
    "process.spawn_many": process.SpawnMany(program="tries", args=(NIL,)),
    "process.exec": command.Exec(path="/bin/true", argv=("true",)),
    "device.resize": command.Resize(pid=1, rows=24, columns=80),
    "process.wait": process.Wait(pid=1),
    "process.kill": process.Kill(pid=1),
    "process.group": signalling.Group(pid=1),
    "process.nice": process.Nice(pid=1, nice=3),
    "process.list": process.ListProcesses(),
    "process.logs": process.Logs(pid=1),
    "context.open": context.Open(),
    "message.send": message.Send(pid=1, body=b"\xc0"),  # type: ignore[arg-type]
    "message.publish": message.Publish(topic="t", body=b"\xc0"),  # type: ignore[arg-type]
    "message.subscribe": message.Subscribe(topic="t"),
    "message.give": message.Give(pipe=1, end="reader", pid=1),
    "device.list": device.ListDevices(),
    "device.call": device.CallTool(device="calculator", method="calculate"),
    "device.parsers": device.ListParsers(),
    "device.parse": device.ParseDocument(parser="words.html", data=b""),
    "net.fetch": net.Fetch(url="https://example.com/"),
    "file.open": file.OpenFile(path="~/a"),
    "file.read": file.ReadFile(path="~/a"),
    "file.write": file.WriteFile(path="~/a", data=b""),
    "file.list": file.ListFiles(path="~"),
    "file.stat": file.FilePath(path="~"),
    "file.remove": file.FilePath(path="~/a"),
    "file.mkdir": file.MakeFolder(path="~/a"),
    "file.rename": file.RenameFile(path="~/a", to="~/b"),
    "model.list": model.ListModels(),
    "model.info": model.ModelName(model="sim"),
    "model.add": model.AddModel(name="m", origin="sim:"),
    "model.generate": model.OneShot(turns=()),
    "model.embed": model.Embed(texts=("x",)),
    "device.open": device.OpenDevice(device="calculator"),
    "device.stream": device.CallTool(device="calculator", method="calculate"),
    "context.list": context.ListContexts(),
    "context.forget": context.Forget(name="notes"),
    "model.score": model.Score(continuations=("x",), prompt="y"),
    "model.tokenize": model.Tokenize(text="x"),
    "model.load": model.ModelName(model="sim"),
    "model.unload": model.Unload(model="sim"),
    "capability.held": capability.HeldBy(pid=1),
    "capability.grant": capability.Grant(pid=1, right="model:*"),
    "capability.revoke": capability.Revoke(capability=1),
    "capability.requests": capability.ListRequests(),
    "capability.answer": capability.Answer(request=1, allow=True),
    "capability.forget": capability.Forget(request=1),
    "kernel.log": watch.Log(),
    "kernel.events": watch.Events(),
    "kernel.metrics": watch.Measure(),
    "kernel.packages": package.ListPackages(),
    "kernel.calls": plugin.ListCalls(),
    "kernel.report": watch.Report(text="x"),
    "account.usage": account.Usage(),
    "account.limit": account.Limit(limits={"tokens": 1}),
    "account.transfer": account.Transfer(target="kernel", amounts={"tokens": 1}),
    "kernel.info": kernel.Info(),
    "kernel.trace": kernel.Trace(),
    "kernel.shutdown": kernel.Shutdown(),
    "kernel.admit": admission.Admit(principal="ann", rights=("**",)),
    "kernel.expel": admission.Expel(ids=("cert:1",)),
}
"""For every row that needs a right and can be asked for with nothing in hand; the rest need a context first."""


@program
async def tries(sys: Sys, name: str) -> str:
    try:
        if any(row.name == name and row.streams for row in TABLE.values()):
            async for _ in sys.stream(name, ARGUMENTS[name]):
                pass
        else:
            await sys.call(name, ARGUMENTS[name])
    except SyscallError as refused:
        return refused.errno.name
    return "served"


@program
async def rests(sys: Sys) -> None:
    await sys.sleep(1e9)


@program
async def ticks(sys: Sys) -> None:
    for n in range(1_000_000):
        await sys.sleep(1)
        await sys.note("tick", done=n)


@program
async def hands_on(sys: Sys, right: str) -> str:
    try:
        await sys.spawn("rests", rights=(right,))
    except SyscallError as refused:
        return refused.errno.name
    return "granted"


async def test_no_row_is_served_without_its_right(autojump_clock: Any) -> None:
    covered = {row.name for row in TABLE.values()} - FREE - set(ARGUMENTS)
    assert all(name.startswith("context.") for name in covered)
    async with up() as machine:
        served = {name: await machine.run(tries, name, rights=()) for name in ARGUMENTS}
        assert set(served.values()) == {"EPERM"}, served
        assert machine.machine.trace.denials == len(ARGUMENTS)
        assert {record.name for record in await machine.trace() if record.errno == "EPERM"} == set(ARGUMENTS)


@pytest.mark.parametrize(
    ("held", "right", "answer"),
    [
        ("model:sim generate", "model:sim generate", "granted"),
        ("model:sim generate", "model:sim", "EPERM"),
        ("model:sim generate", "model:* generate", "EPERM"),
        ("process:children", "process:* kill", "EPERM"),
        ("process:children", "**", "EPERM"),
    ],
)
async def test_a_child_has_no_more_than_its_parent(held: str, right: str, answer: str, autojump_clock: Any) -> None:
    async with up() as machine:
        machine.know(rests)
        assert await machine.run(hands_on, right, rights=("program:*", "process:children wait", held)) == answer


async def test_stop_holds_calls_and_cont_lets_them_go(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(ticks)
        await trio.sleep(5.5)
        record = machine.machine.processes.get(child.pid)
        await child.kill("STOP")
        held = record.done
        await trio.sleep(100)
        assert (record.done, record.state) == (held, "stopped")
        await child.kill("CONT")
        await trio.sleep(5)
        assert record.done > held
        await child.kill("KILL")


async def test_of_two_who_wait_one_is_told_and_the_other_hears_that_it_is_gone(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(rests)
        heard: list[object] = []

        async def wait() -> None:
            try:
                heard.append((await machine.sys.call("process.wait", process.Wait(pid=child.pid))).status)
            except SyscallError as gone:
                heard.append(type(gone))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.sleep(1)
            await child.kill("KILL")
        assert sorted(heard, key=str) == sorted(["killed", NoSuchProcess], key=str)
        with pytest.raises(TimedOut):
            other = await machine.spawn(rests)
            try:
                await machine.sys.call("process.wait", process.Wait(pid=other.pid, timeout_s=1))
            finally:
                await other.kill("KILL")


async def test_what_a_program_was_asked_is_not_kept_once_it_was_sent(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    """Frames that are about a program, and the traceback of its end, would hold megabytes until garbage is sought."""
    made: list[Run] = []
    real = exec_._request

    def noted(*about: Any) -> Run:
        made.append(real(*about))
        return made[-1]

    monkeypatch.setattr(exec_, "_request", noted)
    async with up() as machine:
        child = await machine.spawn(rests)
        await trio.sleep(1)
        references = sys.getrefcount(made[0])
        assert references == 2, "the list's, and that of the question"
        await child.kill("KILL")


async def test_what_a_call_said_is_let_go_of_when_its_link_ends_under_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    """Calls that end with their link come up in a group of exceptions, with their frames: whoever holds that holds
    nothing of what they said."""
    said: list[bytes] = []
    ends: list[BaseException] = []
    real = Pipes.write

    async def noted(pipes: Pipes, process: Process, number: int, data: bytes) -> None:
        said.append(data)
        await real(pipes, process, number, data)

    async def held(link: KernelLink) -> None:
        try:
            await link.run(handshake_s=5.0)
        except BaseException as group:
            ends.append(group)
            raise

    monkeypatch.setattr(Pipes, "write", noted)
    async with up() as machine, trio.open_nursery() as nursery:
        session = machine.machine.processes.get(machine.sys.pid)
        ours, theirs = trio.testing.memory_stream_pair()
        link = KernelLink(theirs, machine._running.gate, Sole(session), hello=Hello())  # type: ignore[union-attr]
        nursery.start_soon(held, link)
        client = Peer(CLIENT_LIMITS, Hello())
        for size in range(1000, 1004):
            pipe = machine.machine.pipes.make(session, 1).id
            asked = message.Write(pipe=pipe, data=bytes(size))
            client.call(message.WRITE.number, msgspec.msgpack.encode(asked))
        await ours.send_all(bytes(client.outbox))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(said) == 4 and isinstance(ends[0], BaseExceptionGroup)
    references = [sys.getrefcount(data) for data in said]
    assert references == [3] * 4, "the list's, that of the loop, and that of the question"


async def raw_session(machine: Any, nursery: trio.Nursery, process_: Process) -> Duplex:
    """A link of a session, frame by frame."""
    ours, theirs = trio.testing.memory_stream_pair()
    served = KernelLink(theirs, machine._running.gate, Sole(process_), hello=Hello())
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), ours, NoServer(), trio.Event)
    nursery.start_soon(lambda: served.run(handshake_s=5.0))
    nursery.start_soon(run, link)
    await link.greeted()
    return link


async def errno_of(asking: Awaitable[Any]) -> str:
    try:
        await asking
    except SyscallError as refused:
        return refused.errno.name
    return "served"


async def test_a_forged_channel_and_a_call_that_is_not_there(autojump_clock: Any) -> None:
    async with up() as machine, trio.open_nursery() as nursery:
        session = machine.machine.processes.get(machine.sys.pid)
        link = await raw_session(machine, nursery, session)
        nothing = Row(0xEE, "no.such", clock.Now, None, None, clock.NOW.flags, "")
        later = Row(0x0B, "process.fork", clock.Now, None, None, clock.NOW.flags, "")
        assert await errno_of(link.call(nothing, clock.Now())) == "ENOSYS"
        assert await errno_of(link.call(later, clock.Now())) == "ENOSYS"
        unknown = [record.detail["call"] for record in await machine.trace() if record.kind == "unknown_call"]
        assert unknown == ["238", "11"]
        assert await errno_of(link.call(clock.NOW, clock.Now(), channel=9)) == "EPERM"
        assert await errno_of(link.call(clock.NOW, clock.Now())) == "EPIPE"
        nursery.cancel_scope.cancel()


async def test_a_cancelled_call_is_answered_and_an_inline_one_too(autojump_clock: Any) -> None:
    async with up() as machine, trio.open_nursery() as nursery:
        link = await raw_session(machine, nursery, machine.machine.processes.get(machine.sys.pid))
        sleeping = link.begin(clock.SLEEP, clock.Sleep(seconds=1e6))
        await trio.sleep(1)
        sleeping.cancel("enough")
        assert await errno_of(sleeping.outcome()) == "ECANCELED"
        at_once = link.begin(clock.NOW, clock.Now())
        at_once.cancel("too late")
        assert await errno_of(at_once.outcome()) == "served"
        unborn = link.begin(clock.SLEEP, clock.Sleep(seconds=1e6))
        unborn.cancel("before it began")
        assert await errno_of(unborn.outcome()) == "ECANCELED"
        nursery.cancel_scope.cancel()


async def test_calls_of_who_has_gone_end_a_few_at_a_time(autojump_clock: Any) -> None:
    async with up() as machine, trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        session = machine.machine.processes.get(machine.sys.pid)
        link = KernelLink(theirs, machine._running.gate, Sole(session), hello=Hello())  # type: ignore[union-attr]
        nursery.start_soon(lambda: link.run(handshake_s=5.0))
        client = Peer(CLIENT_LIMITS, Hello())
        for _ in range(1000):
            client.call(clock.SLEEP.number, pack(clock.Sleep(seconds=1e6)))
        await ours.send_all(bytes(client.outbox))
        await trio.testing.wait_all_tasks_blocked()
        under_way, left = machine.machine.trace.under_way, [1000]
        assert len(under_way) == 1000

        async def others() -> None:
            while under_way:
                await trio.lowlevel.checkpoint()
                left.append(len(under_way))

        nursery.start_soon(others)
        await ours.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert max(before - after for before, after in itertools.pairwise(left)) <= 2 * CALLS_AT_ONCE
        slept = [record for record in await machine.trace() if record.name == "time.sleep"]
        assert [record.errno for record in slept] == ["EPIPE"] * 1000
        nursery.cancel_scope.cancel()


async def test_a_reader_that_hoards_answers_is_told_to_read(autojump_clock: Any) -> None:
    """Blobs that are not taken wait in the kernel: beyond a bound no further call of that link is served."""
    async with up() as machine, trio.open_nursery() as nursery:
        session = machine.machine.processes.get(machine.sys.pid)
        session.note = "x" * 8_000_000
        ours, theirs = trio.testing.memory_stream_pair()
        link = KernelLink(theirs, machine._running.gate, Sole(session), hello=Hello())  # type: ignore[union-attr]
        nursery.start_soon(lambda: link.run(handshake_s=5.0))
        client = Peer(CLIENT_LIMITS, Hello())
        for _ in range(6):
            client.call(process.SELF.number, b"\x80")
        await ours.send_all(bytes(client.outbox))
        await trio.testing.wait_all_tasks_blocked()
        client.outbox.clear()
        answers = client.receive(bytes(await ours.receive_some(CLIENT_LIMITS.blob_total_bytes_max)))
        assert [frame.errno for frame in answers if isinstance(frame, Error)] == [Errno.EAGAIN]
        assert link.wire.peer.unsent_bytes < 2 * CLIENT_LIMITS.blob_total_bytes_max
        nursery.cancel_scope.cancel()


async def test_answers_that_nobody_reads_are_dropped_beyond_a_bound(autojump_clock: Any) -> None:
    """All are asked for before the first is there: a few bytes each, which nothing refuses."""
    limits = PeerLimits(blob_bytes_max=1 << 20, blob_total_bytes_max=1 << 20)
    async with up() as machine, trio.open_nursery() as nursery:
        session = machine.machine.processes.get(machine.sys.pid)
        pipes = [machine.machine.pipes.make(session, 1 << 19) for _ in range(16)]
        for pipe in pipes:
            pipe.put(memoryview(bytes(1 << 19)))
        ours, theirs = trio.testing.memory_stream_pair()
        link = KernelLink(theirs, machine._running.gate, Sole(session), hello=Hello(), limits=limits)  # type: ignore[union-attr]
        nursery.start_soon(lambda: link.run(handshake_s=5.0))
        client = Peer(limits, Hello())
        for pipe in pipes:
            client.call(message.READ.number, msgspec.msgpack.encode(message.Read(pipe=pipe.id, bytes_max=1 << 19)))
        await ours.send_all(bytes(client.outbox))
        await trio.testing.wait_all_tasks_blocked()
        assert link.wire.peer.unsent_bytes < (UNREAD_TOTALS_MAX + 1) * limits.blob_total_bytes_max
        answers = client.receive(bytes(await ours.receive_some(1 << 22)))
        assert {frame.errno for frame in answers if isinstance(frame, Error)} == {Errno.EPIPE}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("pid", [None, 12345])
async def test_others_have_their_turn_while_all_of_the_trace_is_told(pid: int | None, autojump_clock: Any) -> None:
    """A reader with credit for all of it never makes the kernel wait, and nor does one who wants none of it."""
    async with up() as machine, trio.open_nursery() as nursery:
        session = machine.machine.processes.get(machine.sys.pid)
        for n in range(16384):
            machine.machine.trace.event("note", n=n)
        ours, theirs = trio.testing.memory_stream_pair()
        link = KernelLink(theirs, machine._running.gate, Sole(session), hello=Hello())  # type: ignore[union-attr]
        nursery.start_soon(lambda: link.run(handshake_s=5.0))
        client = Peer(CLIENT_LIMITS, Hello())
        client.call(kernel.TRACE.number, pack(kernel.Trace(pid=pid)), credit=1 << 20)
        await ours.send_all(bytes(client.outbox))
        async with counted() as turns:
            while not any(isinstance(frame, End) for frame in client.receive(bytes(await ours.receive_some(1 << 24)))):
                pass
        assert turns.had > 60
        nursery.cancel_scope.cancel()


@program
async def grabs(sys: Sys) -> str:
    try:
        await sys.spawn("grabs", rights=tuple(f"tool:{n}" for n in range(HELD_MAX + 1)))
    except SyscallError as refused:
        return refused.errno.name
    return "let in"


async def test_rights_are_counted_before_they_are_compared(autojump_clock: Any) -> None:
    """Each would be compared with each of the parent's."""
    async with up() as machine:
        machine.know(grabs)
        assert await machine.run(grabs, rights=("program:* spawn",)) == "EINVAL"


@pytest.mark.parametrize("held", [(), ("topic:**", "program:**")])
async def test_a_name_that_is_none_is_not_compared_with_rights(held: tuple[str, ...], autojump_clock: Any) -> None:
    """Nor made into the right that is missing, which took a second where it was of blanks."""
    async with up() as machine:
        process_ = machine.machine.processes.get((await machine.spawn(rests, rights=held)).pid)
        permission = machine._running.gate._permission  # type: ignore[union-attr]
        for row, args in (
            (message.PUBLISH, message.Publish(topic=" " * NAME_CHARS_MAX, body=NIL)),
            (process.SPAWN, process.Spawn(program=" " * NAME_CHARS_MAX)),
        ):
            with pytest.raises(Invalid, match="the longest has"):
                permission.check(process_, row, args)

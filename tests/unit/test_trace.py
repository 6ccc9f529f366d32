"""The trace: every call with what it cost and how it ended, no secrets, bounded, on disk without what people said."""

import json
import os
import stat
import tracemalloc
from pathlib import Path
from typing import Annotated, Any, final

import pytest
import trio
import trio.testing
from msgspec import Raw

from kernel.clock import Clock
from kernel.config import Bounds, Config, TraceConfig, load
from kernel.process import Process
from kernel.recorder import Recorder
from kernel.trap import Trap
from kernel.watch.callentry import CallEntry
from kernel.watch.metrics import Metrics
from kernel.watch.pages import PAGE_CALLS
from kernel.watch.trace import Trace
from kernel.watch.trace_file import TraceFile
from kernel.watch.tracetext import KEPT_BYTES_MAX, SHORT_CHARS_MAX, fields_text, keep_args
from kernos import Sys, program, user
from kernos.testing import up
from kernos.testing.machine import InProcess
from syscalls.calls import clock, kernel, message, process
from syscalls.calls.kernel import TraceRecord
from syscalls.codec import pack, parse_args
from syscalls.errors import Errno, NoSuchProcess, PermissionDenied
from syscalls.row import SECRET, Args, Flag, Result, Row, secret_fields


@final
class Login(Args, frozen=True, kw_only=True):
    """A credential that nobody else may read."""

    name: str
    credential: Annotated[str, SECRET] = ""


@final
class Inside(Args, frozen=True, kw_only=True):
    """A secret one level down."""

    logins: tuple[Login, ...] = ()


@final
class LoggedIn(Result, frozen=True, kw_only=True):
    """A fresh one comes back."""

    token: Annotated[str, SECRET]


LOGIN = Row(0xB1, "door.login", Login, LoggedIn, None, Flag.INLINE, "Lets in.")
INSIDE = Row(0xB2, "door.inside", Inside, None, None, Flag.INLINE, "Lets in.")
SHUT = Row(0xB3, "door.shut", Login, LoggedIn, None, Flag.INLINE | Flag.SECRET, "All of it is secret.")


@program
async def sleeps(sys: Sys) -> None:
    await sys.sleep(1e9)


@program
async def parent_of_two(sys: Sys) -> None:
    for _ in range(2):
        child = await sys.spawn("naps")
        await child.ended()


@program
async def naps(sys: Sys) -> None:
    await sys.sleep(3)


@program
async def talks(sys: Sys) -> str:
    chat = await sys.open()
    await chat.append(user("hello"))
    return (await chat.generate(max_tokens=8)).text


def calls(records: Any, name: str) -> list[TraceRecord]:
    return [record for record in records if record.kind == "call" and record.name == name]


async def test_a_call_says_who_what_how_long_what_it_cost_and_what_let_it_in(autojump_clock: Any) -> None:
    async with up(script=["well then"], model={"tokens_per_second": "4"}) as machine:
        child = await machine.spawn(talks)
        await child.ended()
        (made,) = calls(await machine.trace(), "context.generate")
        assert made.pid == child.pid
        assert "max_tokens=8" in made.args
        assert "finish=" in made.result
        assert made.prompt_tokens > 0 < made.generated_tokens
        assert 0 < made.driver_s <= made.took_s
        assert made.principal == "test"
        assert made.account == "talks"
        assert made.right
        assert made.errno == ""
        (slept,) = calls(await machine.trace(), "context.append")
        assert made.call > slept.call > 0


async def test_a_refusal_says_which_right_was_missing(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(talks, rights=())
        await child.ended()
        (refused,) = calls(await machine.trace(), "context.open")
        assert (refused.errno, refused.right) == ("EPERM", "")
        assert "--allow" in refused.result


async def test_a_call_that_was_under_way_when_its_process_was_killed_is_recorded(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(sleeps)
        await trio.sleep(7)
        (waiting,) = (entry for entry in machine.machine.trace.under_way.values() if entry.pid == child.pid)
        assert waiting.row is clock.SLEEP
        await child.kill("KILL")
        await child.ended()
        (slept,) = calls(await machine.trace(), "time.sleep")
        assert slept.errno == "EPIPE"
        assert slept.took_s == pytest.approx(7, abs=0.1)
        assert not [entry for entry in machine.machine.trace.under_way.values() if entry.pid == child.pid]


async def test_a_cancelled_call_is_recorded_as_cancelled(autojump_clock: Any) -> None:
    async with up() as machine:
        with trio.move_on_after(4):
            await machine.sys.sleep(100)
        await trio.sleep(0.1)
        (slept,) = calls(await machine.trace(), "time.sleep")
        assert (slept.errno, slept.args) == ("ECANCELED", "seconds=100.0")


async def test_whoever_asks_sees_calls_before_they_end(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(sleeps)
        await trio.sleep(1)
        asked = kernel.Trace(pid=child.pid, begun=True)
        shown = [record async for record in machine.sys.stream("kernel.trace", asked)]
        (begun,) = [record for record in shown if record.kind == "begun"]
        assert (begun.name, begun.args) == ("time.sleep", "seconds=1000000000.0")
        await child.kill("KILL")
        await child.ended()
        (slept,) = calls(await machine.trace(), "time.sleep")
        assert slept.call == begun.call


async def test_following_shows_the_begin_of_a_call_at_once_and_ends_with_the_process(autojump_clock: Any) -> None:
    async with up() as machine:
        seen: list[tuple[str, str]] = []
        child = await machine.spawn(naps)
        asked = kernel.Trace(pid=child.pid, follow=True, begun=True)
        async for record in machine.sys.stream("kernel.trace", asked):
            seen.append((record.kind, record.name))
        assert seen.index(("begun", "time.sleep")) < seen.index(("call", "time.sleep"))
        assert seen[-1][0] == "exit"


async def test_a_family_is_followed_to_the_end_of_its_last(autojump_clock: Any) -> None:
    async with up() as machine:
        machine.know(naps)
        child = await machine.spawn(parent_of_two)
        asked = kernel.Trace(pid=child.pid, follow=True, children=True)
        shown = [record async for record in machine.sys.stream("kernel.trace", asked)]
        assert len({record.pid for record in shown}) == 3
        assert len(calls(shown, "time.sleep")) == 2
        assert sum(record.kind == "exit" for record in shown) == 3
        with pytest.raises(NoSuchProcess):
            await machine.sys.stream("kernel.trace", kernel.Trace(pid=99999, follow=True)).result()


def of(raw: bytes, row: Row) -> bytes | str:
    return keep_args(row, raw, parse_args(row, Raw(raw)))


def test_secrets_never_enter() -> None:
    login = pack(Login(name="ada", credential="hunter2"))
    for kept in (of(login, LOGIN), of(pack(Inside(logins=(Login(name="ada", credential="hunter2"),))), INSIDE)):
        assert isinstance(kept, str)
        assert "ada" in kept
        assert "hunter2" not in kept
        assert "<secret>" in kept
    assert of(login, SHUT) == ""
    assert keep_args(LOGIN, login, None) == f"<{len(login)} bytes>", "what did not fit the row may hold one too"
    assert secret_fields(Login) == {"credential"}


def trap_of(row: Row) -> Trap:
    owner: Any = Process.__new__(Process)
    owner.pid, owner.principal, owner.account = 7, "ada", type("A", (), {"name": "work"})()
    owner.identity = 7, "ada", "work"
    return Trap(process=owner, row=row, emit=lambda item: None, room=trio.lowlevel.checkpoint)


async def recorded(level: str, row: Row, args: Any, result: Any, **config: Any) -> tuple[Trace, list[TraceRecord]]:
    trace = Trace(Clock(), 100, config=TraceConfig(level=level, **config))  # type: ignore[arg-type]
    keeper = Recorder(trace, Clock(), Metrics())
    for n in range(4):
        trap = trap_of(row)
        if n == 3:
            keeper.refused(trap, Raw(pack(args)), args, PermissionDenied("no"))
        else:
            keeper.done(trap, Raw(pack(args)), args, pack(result), result)
    return trace, list(trace.since(0))


@final
class Jotting:
    """A kernel that jots calls down, and its recorder."""

    def __init__(self, machine: InProcess) -> None:
        self.sys, self.trace, self.metrics = machine.sys, machine.machine.trace, machine.machine.metrics
        self.recorder: Recorder = self.trace.settle.__self__  # type: ignore[attr-defined]

    async def now(self, times: int = 1) -> None:
        for _ in range(times):
            await self.sys.call("time.now", clock.Now())


async def test_calls_that_never_wait_are_jotted_down_and_there_for_whoever_looks(autojump_clock: Any) -> None:
    async with up() as machine:
        await trio.sleep(60)  # until all has booted
        jotting, me = Jotting(machine), machine.sys.pid
        begin, served = jotting.trace.newest, jotting.trace.calls
        await jotting.now(3 * PAGE_CALLS + 5)
        jotting.trace.event("note", text="after them")
        await jotting.now()
        await machine.sys.call("process.nice", process.Nice(pid=me, nice=3))
        await machine.sys.call("process.nice", process.Nice(pid=me, nice=4))
        assert len(jotting.recorder.jotted) == 1, "the first of its row shows whether the others may be"
        shown = list(jotting.trace.since(begin))
        assert [record.kind for record in shown] == ["call"] * (3 * PAGE_CALLS + 5) + ["note", "call", "call", "call"]
        assert [record.seq for record in shown] == list(range(begin + 1, begin + len(shown) + 1))
        numbers = [record.call for record in shown if record.kind == "call"]
        assert numbers == sorted(set(numbers)), "each its own, in the order in which they were made"
        last = shown[-1]
        assert (last.pid, last.name, last.args, last.result) == (me, "process.nice", f"pid={me}, nice=4", "")
        assert (last.principal, last.account, last.errno) == (shown[0].principal, shown[0].account, "")
        assert last.right, "what let it in"
        assert jotting.trace.calls == served + 3 * PAGE_CALLS + 8
        assert jotting.metrics.served["time.now"] == 3 * PAGE_CALLS + 6
        assert [record.seq for record in jotting.trace.since(begin + 700)] == [r.seq for r in shown[700:]]


async def test_a_page_is_all_that_is_jotted_down_and_nothing_long(autojump_clock: Any) -> None:
    async with up() as machine:
        jotting = Jotting(machine)
        jotted = jotting.recorder.jotted
        for _ in range(2 * PAGE_CALLS):
            await jotting.now()
            assert len(jotted) < PAGE_CALLS
        for length, kept in ((3, 0), (3, 1), (KEPT_BYTES_MAX, 0), (KEPT_BYTES_MAX, 0)):
            await machine.sys.call("process.note", process.Note(note="x" * length))
            assert len(jotted) == kept


async def test_a_page_does_not_fill_a_small_ring(autojump_clock: Any) -> None:
    async with up(bounds=Bounds(trace_records_max=64, trace_bytes_max=65536)) as machine:
        jotting = Jotting(machine)
        await jotting.now(1000)
        shown = list(jotting.trace.since(0))
        assert 0 < len(shown) <= 64
        assert [record.seq for record in shown][-1] == jotting.trace.newest


async def test_a_row_with_secrets_is_never_jotted_down(autojump_clock: Any) -> None:
    trace = Trace(Clock(), 1000)
    keeper = Recorder(trace, Clock(), Metrics())
    args, result = Login(name="ada", credential="hunter2"), LoggedIn(token="hunter3")
    keeper.at_once(trap_of(LOGIN), pack(args), args, pack(result), result)
    assert not keeper.jots
    keeper.at_once(
        trap_of(process.NICE), pack(process.Nice(pid=8, nice=1)), None, pack(process.Nothing()), process.Nothing()
    )
    assert keeper.jots == {process.NICE.number}
    assert "hunter" not in "".join(record.args + record.result for record in trace.since(0))


async def test_what_stands_for_a_result_is_kept_of_a_call_that_was_jotted_down(autojump_clock: Any) -> None:
    trace = Trace(Clock(), 1000)
    keeper = Recorder(trace, Clock(), Metrics())
    trap = trap_of(process.NICE)
    trap.detail = "eight is nicer"
    keeper.jotted.append((trap, pack(process.Nice(pid=8, nice=3)), pack(process.Nothing()), 0.0))
    (record,) = trace.since(0)
    assert (record.pid, record.args, record.result) == (7, "pid=8, nice=3", "eight is nicer")


async def test_who_follows_is_told_of_each_at_once(autojump_clock: Any) -> None:
    async with up() as machine:
        jotting = Jotting(machine)
        await jotting.now(2)
        jotting.trace.settle()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jotting.trace.changed)
            await trio.testing.wait_all_tasks_blocked()
            await jotting.now()
            assert not jotting.recorder.jotted


async def test_results_that_are_secret_do_not_enter_either() -> None:
    _, records = await recorded("full", LOGIN, Login(name="ada"), LoggedIn(token="hunter3"))
    assert records[0].result == "token=<secret>"


async def test_the_levels(autojump_clock: Any) -> None:
    sleep, nothing = clock.Sleep(seconds=2), process.Nothing()
    trace, records = await recorded("full", clock.SLEEP, sleep, nothing)
    assert [record.args for record in records] == ["seconds=2.0"] * 4
    trace, records = await recorded("calls", clock.SLEEP, sleep, nothing)
    assert [(record.args, record.errno) for record in records] == [("", "")] * 3 + [("", "EPERM")]
    assert records[-1].result == ""
    trace, records = await recorded("off", clock.SLEEP, sleep, nothing)
    assert (records, trace.calls, trace.denials) == ([], 4, 1)
    trace, records = await recorded("full", clock.SLEEP, sleep, nothing, every=3)
    assert [record.errno for record in records] == ["", "EPERM"], "one in three, and whatever failed"


def test_long_things_are_cut_without_being_walked() -> None:
    text = fields_text(message.Receive(topic="x" * 10**7))
    assert len(text) < 100
    deep: Any = "end"
    for _ in range(200):
        deep = {"a": deep}
    assert len(fields_text(message.Send(pid=1, body=Raw(pack(deep))))) < SHORT_CHARS_MAX


async def test_entries_hold_no_more_than_their_bound_whatever_calls_were_made_with(autojump_clock: Any) -> None:
    """Frames, blobs and arguments of 40 KiB go by; what stays is a few hundred bytes each."""
    async with up(bounds=Bounds(trace_records_max=2000)) as machine:
        pid = machine.sys.pid
        await machine.sys.call("time.now", clock.Now())
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(300):
            await machine.sys.call("message.send", message.Send(pid=pid, body=Raw(pack("x" * 40_000))))
            await machine.sys.call("message.receive", message.Receive())
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held - before < 4_000_000, f"{held - before} bytes for 600 records"
        assert machine.machine.trace.bytes_kept < 2000 * 1000


async def test_the_ring_is_bounded_in_bytes_and_in_records() -> None:
    trace = Trace(Clock(), 1000, bytes_max=20_000)
    for n in range(500):
        trace.event("note", pid=n, note="x" * 500)
    shown = list(trace.since(0))
    assert len(shown) < 30
    assert [record.seq for record in shown] == list(range(501 - len(shown), 501))
    assert trace.bytes_kept <= 20_000
    assert [record.seq for record in trace.since(498)] == [499, 500]
    assert list(trace.since(500)) == list(trace.since(10**9)) == []


async def test_an_entry_that_cannot_be_read_as_its_row_says_so() -> None:
    entry = CallEntry(1, process.KILL, 7, "ada", "work", 0.0, args=b"\xc1\xc1", errno=Errno.EINVAL.name)
    assert entry.record(1).args == "<2 bytes>"
    assert len(b"\xc1\xc1") < KEPT_BYTES_MAX


async def test_the_file_has_all_but_what_people_said(tmp_path: Path, autojump_clock: Any) -> None:
    config = TraceConfig(file=str(tmp_path / "t" / "trace.jsonl"), rotate_bytes=4096, files_max=3)
    trace = Trace(Clock(), 1000, config=config)
    path = tmp_path / "t" / "trace.jsonl"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(TraceFile(path, config, trace).run)
        await trio.testing.wait_all_tasks_blocked()
        entry = CallEntry(1, clock.SLEEP, 7, "ada", "work", 0.0, 1.0, pack(clock.Sleep(seconds=4242)), "secret words")
        trace.add(entry)
        trace.event("note", pid=7, note="secret words")
        await trio.sleep(1)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(line["kind"], line["pid"]) for line in lines] == [("call", 7), ("note", 7)]
        assert lines[0]["name"] == "time.sleep"
        assert lines[0]["took_s"] == 1.0
        assert "secret" not in path.read_text()
        assert "4242" not in path.read_text()
        for n in range(100):
            trace.event("spawn", pid=n, name="x" * 60)
            await trio.sleep(0.3)
        nursery.cancel_scope.cancel()
    files = sorted(p.name for p in path.parent.iterdir())
    assert files == ["trace.jsonl", "trace.jsonl.1", "trace.jsonl.2"]
    assert all(p.stat().st_size <= 4096 for p in path.parent.iterdir())
    last = [json.loads(line)["seq"] for line in path.read_text().splitlines()]
    assert last[-1] == trace.newest
    assert last == list(range(last[0], last[-1] + 1))


async def test_a_disk_that_takes_no_more_costs_records_and_nothing_else(autojump_clock: Any) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("/dev/full stands for a full disk")
    trace = Trace(Clock(), 1000)
    writer = TraceFile(Path("/dev/full"), TraceConfig(), trace)
    trace.event("boot")
    writer.flush()
    assert writer.lost == 1
    (_, complaint) = trace.since(0)
    assert "No space left" in complaint.detail["error"]
    newest = trace.newest
    writer.flush()
    assert trace.newest == newest, "it does not complain of its own complaint"


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kernos.toml"
    path.write_text('[trace]\nlevel = "loud"\n')
    with pytest.raises(Exception, match="level"):
        load(path)
    path.write_text("[trace]\nevery = 0\n")
    with pytest.raises(Exception, match="every"):
        load(path)
    path.write_text('[trace]\nlevel = "off"\nfile = "trace.jsonl"\n')
    assert load(path) == Config(trace=TraceConfig(level="off", file="trace.jsonl"))

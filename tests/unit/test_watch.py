"""The kernel's log, its events and its metrics, on a whole kernel."""

from typing import Any

import pytest
import trio

from kernel.watch.metrics import Histogram
from kernel.watch.ring import Ring
from kernos.testing import up
from syscalls.calls.process import Budget
from syscalls.errors import Invalid, PermissionDenied, SyscallError
from syscalls.turns import user
from userland.sdk.program import program
from userland.sdk.system import Sys


@program
async def rests(sys: Sys) -> None:
    await sys.sleep(1e9)


@program
async def reports(sys: Sys) -> str:
    await sys.kernel.report("  the oven\nis hot ", level="warning")
    for text in (" ", "x" * 2001):
        with pytest.raises(Invalid):
            await sys.kernel.report(text)
    try:
        await sys.kernel.metrics()
    except PermissionDenied as refused:
        return str(refused)
    return "let in"


@program
async def over(sys: Sys) -> str:
    try:
        await sys.generate(user("hi"), max_tokens=100)
    except SyscallError as refused:
        return refused.errno.name
    return "let in"


async def test_the_log_tells_in_sentences_and_keeps_what_processes_report(autojump_clock: Any) -> None:
    async with up() as machine:
        pid = (await machine.spawn(reports, rights=("kernel:log report",))).pid
        await machine.sys.wait_any()
        assert await machine.run(over, budget=Budget(tokens=5)) == "EQUOTA"
        lines = [line async for line in machine.sys.kernel.log()]
        texts = [line.text for line in lines]
        assert texts[0].startswith("kernos 0.")
        assert [(line.level, line.kind, line.pid) for line in lines if line.text == "the oven is hot"] == [
            ("warning", "report", pid)
        ]
        assert any(text.endswith("is out of tokens: its limit is 5") for text in texts)
        graver = [line async for line in machine.sys.kernel.log(level="warning", tail=1)]
        assert [line.text for line in graver] == [texts[-1]]
        assert len([line async for line in machine.sys.kernel.log(level="debug")]) > len(lines)
        later = [line async for line in machine.sys.kernel.log(since=lines[1].seq)]
        assert later == lines[2:]


async def test_a_report_needs_the_right(autojump_clock: Any) -> None:
    async with up() as machine:
        child = await machine.spawn(reports, rights=())
        exit_ = await machine.ended(child)
        assert "lacks the right 'kernel:log report'" in exit_.error


async def test_events_are_filtered_followed_and_resumed_by_number(autojump_clock: Any) -> None:
    async with up() as machine:
        seen: list[Any] = []
        async with trio.open_nursery() as nursery:

            async def follow() -> None:
                async for event in machine.sys.kernel.events("spawn", "exit", follow=True):
                    seen.append(event)
                    if event.kind == "exit":
                        nursery.cancel_scope.cancel()

            nursery.start_soon(follow)
            await trio.sleep(1)
            child = await machine.spawn(rests)
            await child.kill("KILL")
            await trio.sleep(10)
        assert [(event.kind, event.pid) for event in seen[-2:]] == [("spawn", child.pid), ("exit", child.pid)]
        rest = [event async for event in machine.sys.kernel.events("exit", since=seen[-2].seq)]
        assert [event.seq for event in rest] == [seen[-1].seq]
        mine = [event.kind async for event in machine.sys.kernel.events(pid=child.pid)]
        assert mine == ["spawn", "signal", "exit"]
        with pytest.raises(Invalid, match="at most 64"):
            _ = [event async for event in machine.sys.kernel.events(*("x",) * 65)]


async def test_who_falls_behind_is_told_how_much_is_gone(autojump_clock: Any) -> None:
    from kernel.config import Bounds

    async with up(bounds=Bounds(events_max=4)) as machine:
        for _ in range(10):
            await machine.sys.note("x")
        events = [event async for event in machine.sys.kernel.events()]
        assert len(events) == 4
        assert events[0].lost == events[0].seq - 1 > 0
        assert all(event.lost == 0 for event in events[1:])


async def test_metrics_count_calls_by_outcome_tokens_by_model_and_time(autojump_clock: Any) -> None:
    async with up(script=["x" * 79] * 2, model={"tokens_per_second": "10", "slots": "1"}) as machine:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(machine.run, over)
        await machine.run(over, budget=Budget(tokens=5))
        told = await machine.sys.kernel.metrics()
        assert told.calls["model.generate"] == {"ok": 2, "EQUOTA": 1}
        assert told.calls["process.spawn"] == {"ok": 3}
        (model,) = told.models
        assert (model.model, model.jobs, model.tokens_out) == ("sim@1", 2, 160)
        assert sum(told.histograms["queue"].counts) == 2
        assert told.histograms["queue"].sum == pytest.approx(8.0, abs=0.1)
        assert told.histograms["generation"].sum == pytest.approx(16.0, abs=0.1)
        assert sum(told.histograms["token"].counts) == 2 * 79
        assert told.histograms["ttft"].sum > 8.0
        (device,) = [each for each in told.devices if each.kind == "model"]
        assert (device.busy, device.slots, device.waiting) == (0, 1, 0)
        assert told.memory_bytes > 1 << 20


def test_a_ring_numbers_what_it_takes_and_forgets_the_oldest() -> None:
    ring: Ring[str] = Ring(3)
    assert (ring.newest, ring.oldest, list(ring.since(0))) == (0, 1, [])
    for thing in "abcde":
        ring.add(thing)
    assert (ring.newest, ring.oldest) == (5, 3)
    assert list(ring.since(0)) == [(3, "c"), (4, "d"), (5, "e")]
    assert list(ring.since(4)) == [(5, "e")]
    assert list(ring.since(9)) == []


def test_a_histogram_counts_by_upper_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    told = histogram.told()
    assert (told.counts, told.sum) == ((2, 1, 1), 12.0)

"""Topics tell whoever listens; alarms and timers ring when they are due, by the clock or by the calendar."""

from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from msgspec import Raw

from kernel.clock import Clock
from kernel.messages.alarm import Alarms
from kernel.messages.calendar import CATCH_UP, dates, intervals, latest_due
from kernel.messages.topic import Topics
from kernos import Sys, SyscallError, program
from kernos.testing import up
from syscalls.errors import Errno, Invalid
from tests.turns import counted
from tests.unit.test_pipes import _four


@program
async def listens(sys: Sys, topic: str, count: int) -> list[Any]:
    heard: list[Any] = []
    async with sys.subscribe(topic) as news:
        await sys.send((await sys.self()).ppid, "listening")
        async for letter in news:
            heard.append(letter.body)
            if len(heard) == count:
                return heard
    return heard


@program
async def rings(sys: Sys, seconds: float) -> list[Any]:
    before = (await sys.now()).monotonic_s
    await sys.alarm(seconds)
    async for name in sys.signals():
        return [name, (await sys.now()).monotonic_s - before]
    return []


@program
async def ticks(sys: Sys, every_s: float, count: int, slow_s: float) -> list[tuple[int, float, int]]:
    seen = []
    async with sys.timer(every_s=every_s, count=count) as timer:
        async for tick in timer:
            seen.append((tick.number, round(tick.due_unix_s, 3), tick.missed))
            await sys.sleep(slow_s)
    return seen


@program
async def publishes(sys: Sys, topic: str) -> str:
    try:
        return str(await sys.publish(topic, 1))
    except SyscallError as error:
        return str(error)


async def test_a_publication_reaches_whoever_listens(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        children = [await machine.spawn(listens, "weather", 2) for _ in range(3)]
        for _ in children:
            await machine.sys.receive()
        assert await machine.sys.publish("weather", {"rain": True}) == 3
        assert await machine.sys.publish("other", 1) == 0
        assert await machine.sys.publish("weather", "sun") == 3
        for child in children:
            assert await child.wait() == [{"rain": True}, "sun"]
        assert await machine.sys.publish("weather", 1) == 0, "who has ended listens no longer"


async def test_who_is_slow_misses_the_oldest_and_is_told(autojump_clock: trio.testing.MockClock) -> None:
    topics = Topics(bytes_max=1 << 20)
    slow = topics.subscribe("t", 2, 1)
    for n in range(5):
        topics.publish("t", 1, Raw(bytes([n])))
    first, second = await slow.next(), await slow.next()
    assert [bytes(first.body)[0], bytes(second.body)[0]] == [3, 4]
    assert first.missed + second.missed == 3


async def test_what_waits_for_one_process_is_bounded_on_all_that_it_listens_to(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A thousand topics with a full queue each would be gigabytes, in one process's name."""
    topics = Topics(bytes_max=10_000)
    one, other, theirs = topics.subscribe("a", 9, 1), topics.subscribe("b", 9, 1), topics.subscribe("b", 9, 2)
    for n in range(4):
        topics.publish("a", 1, Raw(bytes([n]) * 4000))
        topics.publish("b", 1, Raw(bytes([n]) * 4000))
    assert [bytes((await theirs.next()).body)[0] for _ in range(2)] == [2, 3], "whoever else listens has a bound too"
    last = await one.next()
    assert bytes(last.body)[0] == 3 and last.missed == 3
    assert bytes((await other.next()).body)[0] == 3
    topics.publish("a", 1, Raw(b"x" * 20_000))
    topics.publish("a", 1, Raw(b"y"))
    assert (await one.next()).missed == 1, "what is too large for all of it is missed"
    topics.leave("a", one, 1)
    topics.leave("b", other, 1)
    again = topics.subscribe("a", 9, 1)
    topics.publish("a", 1, Raw(b"z" * 9000))
    assert bytes((await again.next()).body)[:1] == b"z", "what waited for one that has left takes no room"


async def test_topics_need_a_right_and_are_no_patterns(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        told = await machine.run(publishes, "news", rights=("topic:old publish",))
        assert "EPERM" in told and "'topic:news publish'" in told
        assert await machine.run(publishes, "news", rights=("topic:n* publish",)) == "0"
        for topic in ("", "a*", "**", "x" * 300):
            with pytest.raises(Invalid):
                await machine.sys.publish(topic, 1)
        with pytest.raises(Invalid, match="a publication of"):
            await machine.sys.publish("large", "x" * 100_000)
        with pytest.raises(Invalid):
            async with machine.sys.subscribe("t", queue_max=0):
                pass


async def test_an_alarm_rings_once_when_it_is_due(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        name, took = await machine.run(rings, 12.5)
        assert name == "ALRM" and took == pytest.approx(12.5)


async def test_alarms_cancel_and_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        bound = machine.machine.config.bounds.alarms_max
        numbers = [await machine.sys.alarm(1000.0) for _ in range(bound)]
        with pytest.raises(SyscallError) as full:
            await machine.sys.alarm(1.0)
        assert full.value.errno is Errno.EAGAIN
        await machine.sys.cancel_alarm(numbers[0])
        with pytest.raises(SyscallError) as gone:
            await machine.sys.cancel_alarm(numbers[0])
        assert gone.value.errno is Errno.ENOENT
        for seconds, unix_s in ((None, None), (1.0, 1.0), (-1.0, None), (float("nan"), None), (None, float("inf"))):
            with pytest.raises(Invalid):
                await machine.sys.alarm(seconds, unix_s=unix_s)


async def test_an_alarm_at_a_date_follows_a_clock_that_is_set(autojump_clock: trio.testing.MockClock) -> None:
    ahead = 0.0
    clock = Clock(lambda: trio.current_time() + ahead)
    rung: list[float] = []
    alarms = Alarms(clock=clock, ring=lambda whose: rung.append(clock.now()), alarms_max=4)
    (process, *_), _ = _four()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        alarms.at(process, clock.unix() + 7200)
        await trio.sleep(100)
        assert not rung
        ahead = 7150.0  # somebody sets the system's clock: the date has come
        await trio.sleep(40)
        assert len(rung) == 1
        alarms.at(process, clock.unix() + 50)
        ahead = 0.0  # and back again: it is two hours away
        await trio.sleep(300)
        assert len(rung) == 1
        nursery.cancel_scope.cancel()


async def test_a_timer_ticks_by_interval_and_says_what_was_missed(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        began = machine.machine.clock.unix()
        on_time = await machine.run(ticks, 10.0, 3, 1.0)
        assert [(n, missed) for n, _, missed in on_time] == [(1, 0), (2, 0), (3, 0)]
        assert on_time[2][1] - on_time[0][1] == pytest.approx(20.0)
        assert on_time[0][1] >= began
        late = await machine.run(ticks, 1.0, 90, 30.0)
        assert sum(missed for _, _, missed in late) > 0, (
            "beyond its credit a reader that is slow finds one tick for many"
        )


async def test_nobody_waits_while_missed_ticks_are_counted(autojump_clock: trio.testing.MockClock) -> None:
    due = intervals(0.01, 0.0)
    async with counted() as turns:
        latest, following, missed = await latest_due(due, next(due), 1000.0)
    assert (latest, following, missed) == pytest.approx((1000.0, 1000.01, 99_999))
    assert turns.had > 99_999 // CATCH_UP // 2


def _unix(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> float:
    return datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()


def test_a_calendar_names_minutes_in_a_zone() -> None:
    weekdays = dates("30 9 * * 1-5", "Europe/Berlin", _unix(2026, 3, 27, 12))  # a Friday; clocks change on Sunday
    assert [next(weekdays), next(weekdays)] == [_unix(2026, 3, 30, 7, 30), _unix(2026, 3, 31, 7, 30)]
    left_out = dates("30 2 * * *", "Europe/Berlin", _unix(2026, 3, 28, 12))  # 2:30 does not happen on the 29th
    assert next(left_out) == _unix(2026, 3, 29, 1, 0)
    assert next(dates("0 0 29 2 *", "UTC", _unix(2026, 1, 1))) == _unix(2028, 2, 29)


@pytest.mark.parametrize(
    ("calendar", "zone"),
    [
        ("", "UTC"),
        ("* * * *", "UTC"),
        ("61 * * * *", "UTC"),
        ("* * * * *", "Nowhere/Else"),
        ("* * * * *", "../etc/passwd"),
    ],
)
def test_what_is_no_calendar_is_refused(calendar: str, zone: str) -> None:
    with pytest.raises(Invalid):
        dates(calendar, zone, 0.0)


async def test_bad_timers(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        for fields in ({}, {"every_s": 1.0, "calendar": "* * * * *"}, {"every_s": 0.0}, {"every_s": 1.0, "count": 0}):
            with pytest.raises(Invalid):
                async with machine.sys.timer(**fields) as timer:
                    async for _ in timer:
                        pass

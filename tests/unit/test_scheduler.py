"""The scheduler: shares by weight, newcomers without credit, bounded overtaking, seats that always come free."""

from collections import Counter

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.accounts.account import Accounts
from kernel.clock import Clock
from kernel.policy import Fair, Fcfs, Policy, Ticket
from kernel.process import Process
from kernel.scheduler import Lane, Scheduler
from syscalls.errors import Invalid, TryAgain
from tests.devices import a_process

ACCOUNTS = Accounts(lambda: 0.0)


def program(pid: int, nice: int = 0) -> Process:
    return a_process(ACCOUNTS, pid=pid, nice=nice)


def lane(policy: Policy | None = None, *, starvation: int = 1 << 40, slots: int = 1) -> Lane:
    made = Lane(policy or Fair(), queue_max=1000, starvation_tokens_max=starvation)
    made.slots = slots
    return made


class Feeder:
    """Keeps requests of programs waiting, and runs them one after another."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.seq = 0
        self.served: Counter[int] = Counter()

    def ask(self, process: Process, cost: int) -> Ticket:
        self.seq += 1
        ticket = Ticket(seq=self.seq, process=process, cost=cost, since_s=0.0)
        self.lane.arrive(ticket)
        return ticket

    def step(self, used: int | None = None) -> Ticket | None:
        ticket = self.lane.decide()
        if ticket is not None:
            self.lane.absorb(ticket, ticket.cost if used is None else used)
            self.lane.leave(ticket)
            self.served[ticket.process.pid] += ticket.used
        return ticket


def test_two_programs_share_alike_however_many_requests_each_has() -> None:
    feeder = Feeder(lane())
    many, one = program(1), program(2)
    for _ in range(100):
        feeder.ask(many, 10)
    for _ in range(50):
        feeder.ask(one, 10)
    for _ in range(60):
        feeder.step()
    assert abs(feeder.served[1] - feeder.served[2]) <= 10


def test_a_parent_and_its_children_are_one_program() -> None:
    feeder = Feeder(lane())
    family, other = program(1), program(2)
    children = [a_process(ACCOUNTS, pid=10 + n, parent=family) for n in range(4)]
    for _ in range(30):
        for child in children:
            feeder.ask(child, 10)
        feeder.ask(other, 10)
    for _ in range(40):
        feeder.step()
    assert abs(sum(feeder.served[child.pid] for child in children) - feeder.served[2]) <= 10


def test_nice_gives_shares_as_linux_does() -> None:
    feeder = Feeder(lane())
    for _ in range(400):
        feeder.ask(program(1, nice=0), 10)
        feeder.ask(program(2, nice=5), 10)
    for _ in range(400):
        feeder.step()
    assert feeder.served[1] / feeder.served[2] == pytest.approx(1.25**5, rel=0.1)


def test_who_used_less_than_was_feared_is_charged_what_it_used() -> None:
    feeder = Feeder(lane())
    modest, greedy = program(1), program(2)
    for _ in range(100):
        feeder.ask(modest, 100)
        feeder.ask(greedy, 100)
    turns: Counter[int] = Counter()
    for _ in range(60):
        waiting = feeder.lane.waiting
        ticket = feeder.lane.decide()
        assert ticket is not None and waiting
        feeder.lane.absorb(ticket, 10 if ticket.process is modest else 100)
        feeder.lane.leave(ticket)
        turns[ticket.process.pid] += 1
    assert turns[1] / turns[2] == pytest.approx(10, rel=0.3)


def test_a_newcomer_has_no_credit_for_the_time_it_was_away() -> None:
    feeder = Feeder(lane())
    old, new = program(1), program(2)
    for _ in range(100):
        feeder.ask(old, 10)
    for _ in range(50):
        feeder.step()
    for _ in range(50):
        feeder.ask(new, 10)
    before = feeder.served[1]
    for _ in range(20):
        feeder.step()
    assert feeder.served[1] - before >= 90


def test_coming_and_going_does_not_wash_off_what_was_used() -> None:
    feeder = Feeder(lane())
    steady, flitting = program(1), program(2)
    for _ in range(300):
        feeder.ask(steady, 10)
    feeder.ask(flitting, 100)
    for _ in range(200):
        ticket = feeder.step()
        if ticket is not None and ticket.process is flitting:
            feeder.ask(flitting, 100)
    assert feeder.served[2] <= feeder.served[1] + 200


def test_fcfs_is_the_order_of_arrival() -> None:
    feeder = Feeder(lane(Fcfs()))
    first = [feeder.ask(program(pid), 1000 - pid) for pid in (3, 1, 2)]
    assert [feeder.step() for _ in range(3)] == first


def test_free_seats_are_not_all_given_to_one_program() -> None:
    feeder = Feeder(lane(slots=4))
    for _ in range(8):
        feeder.ask(program(1), 10)
    for _ in range(8):
        feeder.ask(program(2), 10)
    seated = Counter(ticket.process.pid for _ in range(4) if (ticket := feeder.lane.decide()))
    assert seated == {1: 2, 2: 2}


def test_a_stopped_process_is_not_seated_and_loses_nothing() -> None:
    feeder = Feeder(lane(starvation=100))
    held, other = program(1), program(2)
    waiting = feeder.ask(held, 10)
    held.stop()
    for _ in range(50):
        feeder.ask(other, 10)
        assert feeder.step() is not None
    assert waiting.overtaken == 0
    held.resume()
    assert feeder.step() is waiting


@settings(deadline=None)
@given(
    requests=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 60), st.integers(-5, 5), st.booleans()), min_size=1, max_size=60
    ),
    starvation=st.integers(0, 150),
    slots=st.integers(1, 3),
)
def test_nobody_is_overtaken_by_more_than_the_bound(
    requests: list[tuple[int, int, int, bool]], starvation: int, slots: int
) -> None:
    feeder = Feeder(lane(starvation=starvation, slots=slots))
    passed: Counter[int] = Counter()
    served = 0

    def serve() -> bool:
        waiting = list(feeder.lane.waiting)
        ticket = feeder.lane.decide()
        if ticket is None:
            return False
        for each in waiting:
            if each.seq < ticket.seq:
                passed[each.seq] += ticket.cost
                assert passed[each.seq] <= starvation
        feeder.lane.absorb(ticket, ticket.cost)
        feeder.lane.leave(ticket)
        return True

    for pid, cost, nice, run in requests:
        feeder.ask(program(pid, nice), cost)
        served += run and serve()
    while feeder.lane.waiting:
        assert serve(), "a free seat, somebody ready, and nobody seated"
        served += 1
    assert served == len(requests)


async def test_seats_are_bounded_and_handed_on() -> None:
    scheduler = Scheduler(Clock(), queue_max=10)
    most = 0

    async def work(pid: int) -> None:
        nonlocal most
        async with scheduler.seat(device="m", slots=2, process=program(pid), cost_tokens=5) as seat:
            most = max(most, scheduler.busy("m"))
            seat.absorb(5)
            await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        for pid in range(6):
            nursery.start_soon(work, pid)
    assert most == 2
    assert (scheduler.busy("m"), scheduler.waiting("m")) == (0, 0)
    scheduler.check()


async def test_past_the_bound_of_the_queue_an_arrival_is_told_when_to_try_again() -> None:
    scheduler = Scheduler(Clock(), queue_max=1)
    async with trio.open_nursery() as nursery:

        async def sit() -> None:
            async with scheduler.seat(device="m", slots=1, process=program(1), cost_tokens=5):
                await trio.sleep_forever()

        nursery.start_soon(sit)
        nursery.start_soon(sit)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TryAgain, match=r"1 requests wait for m already: try again in about [\d.]+ s"):
            async with scheduler.seat(device="m", slots=1, process=program(2), cost_tokens=5):
                pass
        nursery.cancel_scope.cancel()
    assert (scheduler.busy("m"), scheduler.waiting("m")) == (0, 0)


async def test_a_waiter_that_is_cancelled_leaves_and_a_seat_of_one_that_fails_comes_free() -> None:
    scheduler = Scheduler(Clock(), queue_max=10)
    order: list[int] = []
    async with trio.open_nursery() as nursery:
        scopes = {pid: trio.CancelScope() for pid in (1, 2, 3)}

        async def wait(pid: int) -> None:
            with scopes[pid]:
                async with scheduler.seat(device="m", slots=1, process=program(pid), cost_tokens=5):
                    order.append(pid)
                    await trio.sleep_forever()

        for pid in (1, 2, 3):
            nursery.start_soon(wait, pid)
            await trio.testing.wait_all_tasks_blocked()
        scopes[2].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (scheduler.busy("m"), scheduler.waiting("m")) == (1, 1)
        scopes[1].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert order == [1, 3]
        scopes[3].cancel()
    assert scheduler.busy("m") == 0


async def test_a_continued_process_is_seated_on_wake() -> None:
    scheduler = Scheduler(Clock(), queue_max=10)
    process = program(1)
    process.stop()
    seated = trio.Event()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            async with scheduler.seat(device="m", slots=1, process=process, cost_tokens=5):
                seated.set()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not seated.is_set()
        process.resume()
        scheduler.wake()
        await seated.wait()


async def test_an_unknown_policy_is_refused_with_the_list() -> None:
    with pytest.raises(Invalid, match="fair, fcfs"):
        Scheduler(Clock(), queue_max=1, policy="magic")

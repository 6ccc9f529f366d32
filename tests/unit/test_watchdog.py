"""Extensions under watch: whatever one does, the kernel decides, in time and its bounds, and says what it did."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.accounts.account import Accounts
from kernel.clock import Clock
from kernel.mm.eviction import Evictor, oldest_first
from kernel.mm.window import SHORTEST, STUB_BYTES, Item, plan
from kernel.policy import Extended, Ticket
from kernel.process import Process
from kernel.scheduler import Lane, Scheduler
from kernel.sys.context import context_generate, context_open
from kernel.watchdog import Interrupter, Watch, Watched
from syscalls.calls.context import Append, Generate, Open
from syscalls.hooks import Claim, Exchange
from syscalls.turns import user
from tests.devices import Bench, ByteModel, a_process

ACCOUNTS = Accounts(lambda: 0.0)
BOUND_S = 0.25
Choose = Callable[[Sequence[Claim]], Any]


class Still:
    """A clock for tests without a loop."""

    def now(self) -> float:
        return 0.0


class Policy:
    """Decides as it is told, as a scheduling and as an eviction policy."""

    name = "mine"

    def __init__(self, decide: Callable[[Any], Any]) -> None:
        self.decide = decide
        self.asked = 0

    def choose(self, waiting: Sequence[Claim], /) -> Any:
        self.asked += 1
        return self.decide(waiting)

    def order(self, exchanges: Sequence[Exchange], /) -> Any:
        self.asked += 1
        return self.decide(exchanges)


def watched(
    policy: Policy, *, clock: Any = None, told: list[tuple[str, str, str]] | None = None, breaker: Any = None
) -> Watched[Any]:
    tell = (told if told is not None else []).append
    still: Any = clock or Still()
    watch = Watch(still, bound_s=BOUND_S, tell=lambda *what: tell(what), breaker=breaker)
    return Watched("scheduling policy", policy.name, policy, watch)


def lane_of(policy: Watched[Any], *, starvation: int = 1 << 40, slots: int = 1) -> Lane:
    still: Any = Still()
    lane = Lane(Extended(policy, "m", still), queue_max=1000, starvation_tokens_max=starvation)
    lane.slots = slots
    return lane


def program(pid: int, nice: int = 0) -> Process:
    return a_process(ACCOUNTS, pid=pid, nice=nice)


def ask(lane: Lane, seq: int, process: Process, cost: int = 10) -> Ticket:
    ticket = Ticket(seq=seq, process=process, cost=cost, since_s=0.0)
    lane.arrive(ticket)
    return ticket


def serve(lane: Lane) -> Ticket | None:
    ticket = lane.decide()
    if ticket is not None:
        lane.absorb(ticket, ticket.cost)
        lane.leave(ticket)
    return ticket


def test_a_policy_of_an_extension_decides_who_goes_next() -> None:
    lane = lane_of(watched(Policy(lambda claims: max(claims, key=lambda claim: claim.tokens).number)))
    for seq, cost in enumerate((10, 30, 20), 1):
        ask(lane, seq, program(seq), cost)
    assert [ticket.seq for _ in range(3) if (ticket := serve(lane))] == [2, 3, 1]


def test_a_claim_tells_what_its_program_was_served() -> None:
    seen: list[Claim] = []

    def decide(claims: Sequence[Claim]) -> int:
        seen.extend(claims)
        return min(claims, key=lambda claim: (claim.served, claim.number)).number

    lane = lane_of(watched(Policy(decide)))
    first, second = program(1), program(2)
    for seq, process in enumerate((first, first, second, second), 1):
        ask(lane, seq, process)
    assert [ticket.process.pid for _ in range(4) if (ticket := serve(lane))] == [1, 2, 1, 2]
    assert {claim.served for claim in seen} == {0.0, 10.0}
    assert all(claim.device == "m" and claim.principal == "ann" for claim in seen)


def _coroutine(_claims: Any) -> Any:
    async def later() -> int:
        return 1

    return later()


NONSENSE: list[Any] = [None, "1", 1.0, True, -1, 10**30, [1], object(), float("nan")]


@pytest.mark.parametrize("answer", NONSENSE, ids=repr)
def test_nonsense_disables_a_policy_and_the_fair_one_decides(answer: Any) -> None:
    told: list[tuple[str, str, str]] = []
    policy = Policy(lambda claims: answer)
    lane = lane_of(watched(policy, told=told))
    tickets = [ask(lane, seq, program(seq)) for seq in (1, 2, 3)]
    assert [serve(lane) for _ in range(3)] == tickets
    assert policy.asked == 1
    assert [(kind, name) for kind, name, _ in told] == [("scheduling policy", "mine")]
    assert "nonsense" in told[0][2]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize(
    "error", [ValueError("no idea"), SystemExit(3), KeyboardInterrupt(), Unspeakable(), RecursionError()], ids=repr
)
def test_a_policy_that_raises_is_disabled(error: BaseException) -> None:
    told: list[tuple[str, str, str]] = []

    def decide(claims: Any) -> int:
        raise error

    lane = lane_of(watched(Policy(decide), told=told))
    ticket = ask(lane, 1, program(1))
    assert serve(lane) is ticket
    assert type(error).__name__ in told[0][2]


def test_an_async_policy_is_told_apart_from_a_plain_one() -> None:
    told: list[tuple[str, str, str]] = []
    lane = lane_of(watched(Policy(_coroutine), told=told))
    ask(lane, 1, program(1))
    assert serve(lane) is not None
    assert "plain function" in told[0][2]


async def test_a_policy_that_takes_longer_than_its_bound_is_disabled(mock_clock: trio.testing.MockClock) -> None:
    told: list[tuple[str, str, str]] = []
    took = [BOUND_S, BOUND_S + 0.01]

    def slow(claims: Sequence[Claim]) -> int:
        mock_clock.jump(took.pop(0))
        return claims[-1].number

    policy = watched(Policy(slow), clock=Clock(), told=told)
    lane = lane_of(policy)
    for seq in (1, 2, 3, 4):
        ask(lane, seq, program(seq))
    last = serve(lane)
    assert last is not None and last.seq == 4 and not told
    first = serve(lane)
    assert first is not None and first.seq == 1
    assert policy.disabled == "a decision took longer than 0.25 s" and len(told) == 1
    assert serve(lane) is not None and not took


async def test_the_scheduler_says_which_policy_is_in_force() -> None:
    policy = watched(Policy(lambda claims: None))
    scheduler = Scheduler(Clock(), queue_max=10, policy=policy)
    assert scheduler.policy == "mine"
    async with scheduler.seat(device="m", slots=1, process=program(1), cost_tokens=5):
        assert scheduler.policy == "fair"
    scheduler.check()


HANG_S = 5.0
"""When a decision that is not broken into gives up by itself, so that the test can fail."""


def spins(claims: Any) -> int:
    began = time.monotonic()
    while time.monotonic() - began < HANG_S:
        pass
    return 1


def swallows(claims: Any) -> int:
    try:
        time.sleep(HANG_S)
    except Exception:
        time.sleep(HANG_S)
    return 1


@pytest.mark.parametrize("decide", [spins, swallows])
def test_a_decision_that_never_ends_is_broken_into(decide: Choose) -> None:
    breaker = Interrupter.made()
    assert breaker is not None and Interrupter.made() is None
    try:
        policy = watched(Policy(decide), breaker=breaker)
        lane = lane_of(policy)
        ticket = ask(lane, 1, program(1))
        assert serve(lane) is ticket
        assert policy.disabled == "a decision took longer than 0.25 s"
    finally:
        breaker.retire()


@settings(deadline=None)
@given(
    requests=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 60), st.integers(-5, 5), st.booleans()), min_size=1, max_size=60
    ),
    picks=st.lists(st.integers(0, 30) | st.just(-1), min_size=1, max_size=40),
    starvation=st.integers(0, 150),
    slots=st.integers(1, 3),
)
def test_an_adversary_overtakes_nobody_by_more_than_the_bound(
    requests: list[tuple[int, int, int, bool]], picks: list[int], starvation: int, slots: int
) -> None:
    turn = iter(range(1 << 30))

    def decide(claims: Sequence[Claim]) -> int:
        pick = picks[next(turn) % len(picks)]
        return sorted(claims, key=lambda claim: -claim.number)[pick % len(claims)].number if pick >= 0 else pick

    lane = lane_of(watched(Policy(decide)), starvation=starvation, slots=slots)
    passed: Counter[int] = Counter()
    served = 0

    def step() -> bool:
        waiting = list(lane.waiting)
        ticket = serve(lane)
        if ticket is None:
            return False
        for each in waiting:
            if each.seq < ticket.seq:
                passed[each.seq] += ticket.cost
                assert passed[each.seq] <= starvation
        return True

    for seq, (pid, cost, nice, run) in enumerate(requests, 1):
        ask(lane, seq, program(pid, nice), cost)
        served += run and step()
    while lane.waiting:
        assert step(), "a free seat, somebody ready, and nobody seated"
        served += 1
    assert served == len(requests)


ANSWERS = st.one_of(
    st.lists(st.integers(-2, 40), max_size=40),
    st.none(),
    st.integers(),
    st.lists(st.none() | st.floats() | st.text()),
    st.just("raise"),
    st.sampled_from(["newest", "largest", "half", "twice"]),
)


@settings(max_examples=300, deadline=None)
@given(
    drawn=st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.booleans()), max_size=30),
    newest=st.integers(0, 4),
    fixed=st.integers(0, 50),
    limit=st.integers(1, 3000),
    answer=ANSWERS,
)
def test_an_adversary_evicts_no_pin_and_never_too_little(
    drawn: list[tuple[int, bool, bool]], newest: int, fixed: int, limit: int, answer: Any
) -> None:
    items = []
    unit = -1
    for at, (tokens, joined, pinned) in enumerate(drawn):
        unit += not joined or at in (0, len(drawn) - newest)
        items.append(Item(tokens, unit, pinned=pinned and unit % 3 == 0, newest=at >= len(drawn) - newest))

    def decide(exchanges: Sequence[Exchange]) -> Any:
        numbers = [each.number for each in exchanges]
        match answer:
            case "raise":
                raise RuntimeError
            case "newest":
                return numbers[::-1]
            case "largest":
                return [each.number for each in sorted(exchanges, key=lambda each: -each.tokens)]
            case "half":
                return tuple(numbers[::2])
            case "twice":
                return numbers + numbers
        return answer

    order = Evictor(watched(Policy(decide))).order
    decided = plan(
        items, fixed=fixed, stub=STUB_BYTES, limit=limit, high=int(0.9 * limit), low=int(0.6 * limit), order=order
    )
    short = dict(decided.shorten)
    gone = set(decided.evict)
    left = fixed + sum(short.get(at, item.tokens) for at, item in enumerate(items) if at not in gone)
    left += STUB_BYTES if gone else 0
    assert left == decided.tokens
    assert not any(items[at].pinned or items[at].newest for at in gone)
    assert len(gone) == len(decided.evict)
    if decided.fits:
        assert left <= limit
    else:
        least = sum(
            item.tokens if item.pinned else min(item.tokens, SHORTEST) for item in items if item.pinned or item.newest
        )
        assert fixed + least + STUB_BYTES > limit


def exchange(number: int, tokens: int = 10, *, unwanted: bool = False) -> Exchange:
    return Exchange(number=number, tokens=tokens, turns=1, recalled=False, unwanted=unwanted)


def test_what_a_policy_leaves_out_goes_last_and_the_oldest_first() -> None:
    evictor = Evictor(watched(Policy(lambda exchanges: [3])))
    assert evictor.name == "mine"
    assert list(evictor.order([exchange(n) for n in range(5)])) == [3, 0, 1, 2, 4]


def test_a_policy_that_is_disabled_leaves_the_oldest_first() -> None:
    policy = Policy(lambda exchanges: [7])
    evictor = Evictor(watched(policy))
    some = [exchange(0), exchange(1, unwanted=True), exchange(2)]
    assert list(evictor.order(some)) == list(oldest_first(some)) == [1, 0, 2]
    assert evictor.name == "oldest"
    evictor.order(some)
    assert policy.asked == 1


async def test_a_window_is_evicted_as_the_policy_says_and_as_usual_once_it_fails() -> None:
    answers: list[Any] = [lambda exchanges: [exchanges[-1].number], lambda exchanges: 1 / 0]
    policy = Policy(lambda exchanges: answers.pop(0)(exchanges))
    model = ByteModel(window=1100)
    bench = Bench(model, evictor=Evictor(watched(policy)))
    process = bench.process()
    handle = (await context_open(bench.machine, bench.trap(process, "context.open"), Open(reserve_tokens=100))).context
    context = bench.contexts.get(handle)
    first_gone: list[int] = []
    for n in range(40):
        before = [entry.position for entry in context.window.entries]
        await bench.contexts.binder.append(context, Append(context=handle, turns=(user(f"{n:02} " + "x" * 93),)))
        await context_generate(bench.machine, bench.trap(process, "context.generate"), Generate(context=handle))
        left = {entry.position for entry in context.window.entries}
        first_gone += [min(set(before) - left)] if set(before) - left else []
    assert first_gone[0] == 0 and max(model.prompts) <= 0.9 * 1000
    assert bench.machine.evictor.name == "oldest" and policy.asked == 2
    assert first_gone == sorted(first_gone)

"""The queue for seats on devices: a pure core that decides, and a thin shell that waits.

An engine is handed only what it can run now; everything else waits here, one `Lane` per device. Who goes next is for a
policy to say (kernel/policy.py), within one bound that no policy can move. The worst case is charged when a seat is
given and corrected to what was done when it is left; otherwise a program could take every free seat at once.

Overtaking is bounded in work, not in time: whoever waits is passed by at most `starvation_tokens_max` tokens of
service that arrived later. A process that is stopped is not seated, and what passes it then does not count.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final

from kernel.clock import Clock
from kernel.panic import KernelPanic
from kernel.policy import POLICIES, Extended, Policy, Ticket, weight_of
from kernel.process import Process
from kernel.watchdog import Watched
from syscalls.errors import Invalid, TryAgain
from syscalls.hooks import SchedulingPolicy

STARVATION_TOKENS_MAX = 65536
MEAN_SHARE = 0.1


@final
class Lane:
    """The queue of one device. No IO and no clock: `arrive`, `decide`, `absorb`, `leave`."""

    def __init__(self, policy: Policy, *, queue_max: int, starvation_tokens_max: int) -> None:
        self.policy = policy
        self.slots = 1
        self.waiting: list[Ticket] = []
        self.seated: set[Ticket] = set()
        self._queue_max = queue_max
        self._starvation_tokens_max = starvation_tokens_max
        self._requests: dict[int, int] = {}

    @property
    def full(self) -> bool:
        """Whether another arrival would be one too many."""
        return len(self.waiting) >= self._queue_max

    def arrive(self, ticket: Ticket) -> None:
        """Takes a request; the caller has looked at `full`."""
        program = ticket.process.program
        self._requests[program] = self._requests.get(program, 0) + 1
        self.policy.arrive(program)
        self.waiting.append(ticket)

    def decide(self) -> Ticket | None:
        """Gives the next free seat and returns who got it; None when there is no seat or nobody may sit."""
        ready = [ticket for ticket in self.waiting if not ticket.process.stopped]
        if not ready or len(self.seated) >= self.slots:
            return None
        chosen = self.policy.choose(ready)
        while (starved := self._starved_by(chosen, ready)) is not None:
            chosen = starved
        self._seat(chosen, ready)
        return chosen

    def absorb(self, ticket: Ticket, tokens: int) -> None:
        """Counts tokens of service as they are done."""
        ticket.used += tokens

    def leave(self, ticket: Ticket) -> None:
        """A seated ticket frees its seat and is charged what it used; a waiting one is taken off the queue."""
        program = ticket.process.program
        if ticket.seated:
            self.seated.discard(ticket)
            self.policy.charge(program, ticket.used - ticket.cost, ticket.weight)
        else:
            self.waiting.remove(ticket)
        self._requests[program] -= 1
        if not self._requests[program]:
            del self._requests[program]
            self.policy.leave(program)

    def _starved_by(self, chosen: Ticket, ready: list[Ticket]) -> Ticket | None:
        """The oldest of those who would be overtaken by too much. It is older than `chosen`, so asking again ends."""
        return next(
            (
                ticket
                for ticket in ready
                if ticket.seq < chosen.seq and ticket.overtaken + chosen.cost > self._starvation_tokens_max
            ),
            None,
        )

    def _seat(self, chosen: Ticket, ready: list[Ticket]) -> None:
        for ticket in ready:
            if ticket.seq < chosen.seq:
                ticket.overtaken += chosen.cost
        self.waiting.remove(chosen)
        self.seated.add(chosen)
        chosen.seated = True
        chosen.weight = weight_of(chosen.process.nice)
        self.policy.charge(chosen.process.program, chosen.cost, chosen.weight)


@final
class Seat:
    """A seat on a device, for as long as its block runs."""

    __slots__ = ("_lane", "_ticket", "queued_s")

    def __init__(self, lane: Lane, ticket: Ticket, queued_s: float) -> None:
        self._lane = lane
        self._ticket = ticket
        self.queued_s = queued_s

    def absorb(self, tokens: int) -> None:
        """Says that `tokens` more of service were done (prompt tokens that were not cached, and generated ones)."""
        self._lane.absorb(self._ticket, tokens)


@final
class Scheduler:
    """All lanes, and the waiting. `policy` is a name of POLICIES, or an extension's under watch."""

    def __init__(
        self,
        clock: Clock,
        *,
        queue_max: int,
        policy: "str | Watched[SchedulingPolicy]" = "fair",
        starvation_tokens_max: int = STARVATION_TOKENS_MAX,
    ) -> None:
        if isinstance(policy, str) and policy not in POLICIES:
            raise Invalid(f"no scheduling policy {policy!r}: there are {', '.join(sorted(POLICIES))}")
        self._policy = policy
        self._clock = clock
        self._queue_max = queue_max
        self._starvation_tokens_max = starvation_tokens_max
        self._lanes: dict[str, Lane] = {}
        self._next_seq = 0
        self._mean_s: dict[str, float] = {}

    @property
    def policy(self) -> str:
        """The policy that decides: an extension's until it is disabled."""
        if isinstance(self._policy, str):
            return self._policy
        return Extended.fallback if self._policy.disabled else self._policy.name

    @asynccontextmanager
    async def seat(self, *, device: str, slots: int, process: Process, cost_tokens: int) -> AsyncIterator[Seat]:
        """A seat among the `slots` of `device`, for work of at most `cost_tokens`; waits for it, may be cancelled.

        Raises TryAgain (EAGAIN) when `queue_max` requests wait already; nothing was done then.
        """
        lane = self._lane(device)
        lane.slots = max(1, slots)
        if lane.full:
            raise TryAgain(self._full(device, lane))
        self._next_seq += 1
        ticket = Ticket(seq=self._next_seq, process=process, cost=max(1, cost_tokens), since_s=self._clock.now())
        lane.arrive(ticket)
        self._fill(lane)
        try:
            await ticket.granted.wait()
            began_s = self._clock.now()
            yield Seat(lane, ticket, began_s - ticket.since_s)
            self._took(device, self._clock.now() - began_s)
        finally:
            lane.leave(ticket)
            self._fill(lane)

    def wake(self) -> None:
        """Decides again everywhere: a process was continued, or its nice value changed."""
        for lane in self._lanes.values():
            self._fill(lane)

    def busy(self, device: str) -> int:
        """How many seats of `device` are taken."""
        return len(self._lanes[device].seated) if device in self._lanes else 0

    def waiting(self, device: str) -> int:
        """How many requests wait for `device`."""
        return len(self._lanes[device].waiting) if device in self._lanes else 0

    def queues(self) -> dict[int, int]:
        """How many requests wait for a seat, by the pid of those that have any."""
        found: dict[int, int] = {}
        for lane in self._lanes.values():
            for ticket in lane.waiting:
                found[ticket.process.pid] = found.get(ticket.process.pid, 0) + 1
        return found

    @property
    def queued(self) -> int:
        """How many requests wait, for whatever device."""
        return sum(len(lane.waiting) for lane in self._lanes.values())

    @property
    def seated(self) -> int:
        """How many requests have a seat, at whatever device."""
        return sum(len(lane.seated) for lane in self._lanes.values())

    def check(self) -> None:
        """Raises KernelPanic on a contradiction: for tests and the invariants."""
        for device, lane in self._lanes.items():
            for ticket in lane.waiting:
                if ticket.seated or ticket.overtaken > self._starvation_tokens_max:
                    raise KernelPanic(f"{device}: {ticket.seq} waits, was overtaken by {ticket.overtaken} tokens")

    def _lane(self, device: str) -> Lane:
        if device not in self._lanes:
            policy = self._policy
            self._lanes[device] = Lane(
                POLICIES[policy]() if isinstance(policy, str) else Extended(policy, device, self._clock),
                queue_max=self._queue_max,
                starvation_tokens_max=self._starvation_tokens_max,
            )
        return self._lanes[device]

    def _fill(self, lane: Lane) -> None:
        while (ticket := lane.decide()) is not None:
            ticket.granted.set()

    def _took(self, device: str, seconds: float) -> None:
        """A moving mean of how long a seat is held: for what an EAGAIN advises."""
        before = self._mean_s.get(device, seconds)
        self._mean_s[device] = before + (seconds - before) * MEAN_SHARE

    def _full(self, device: str, lane: Lane) -> str:
        wait_s = self._mean_s.get(device, 1.0) * len(lane.waiting) / lane.slots
        return f"{len(lane.waiting)} requests wait for {device} already: try again in about {max(0.1, wait_s):.1f} s"

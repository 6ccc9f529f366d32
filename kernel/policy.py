"""Who goes next: the policies that ship, and an extension's, which stands on the fair one.

The unit of fairness is the program: under `fair` each has a virtual service, tokens by weight, and the one that was
served least goes next (as in Linux' CFS, whose weights these are). A newcomer starts at the least of those who are
there: it gets its share from now on, and none for the time it was away.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, final

import trio

from kernel.clock import Clock
from kernel.process import Process
from kernel.watchdog import Nonsense, Watched
from syscalls.hooks import Claim, SchedulingPolicy

NICE_STEP = 1.25
WEIGHT_NICE_0 = 1024.0


def weight_of(nice: int) -> float:
    """The share of nice 0 is 1024; each step is a factor of 1.25, as in Linux."""
    return WEIGHT_NICE_0 / NICE_STEP**nice


@final
class Ticket:
    """One request for a seat, waiting or seated."""

    __slots__ = ("cost", "granted", "overtaken", "process", "seated", "seq", "since_s", "used", "weight")

    def __init__(self, *, seq: int, process: Process, cost: int, since_s: float) -> None:
        self.seq = seq
        self.process = process
        self.cost = cost
        self.since_s = since_s
        self.granted = trio.Event()
        self.seated = False
        self.overtaken = 0
        self.used = 0
        self.weight = WEIGHT_NICE_0


class Policy(Protocol):
    """Who goes next. `choose` of those who may sit (at least one); `charge` may be negative (a correction); `arrive`
    and `leave` frame the time in which a program has requests here."""

    @property
    def name(self) -> str: ...
    def arrive(self, program: int) -> None: ...
    def leave(self, program: int) -> None: ...
    def choose(self, ready: Sequence[Ticket]) -> Ticket: ...
    def charge(self, program: int, tokens: int, weight: float) -> None: ...


@final
class Fcfs:
    """First come, first served."""

    name = "fcfs"

    def arrive(self, program: int) -> None:
        """All are alike."""

    def leave(self, program: int) -> None:
        """All are alike."""

    def choose(self, ready: Sequence[Ticket]) -> Ticket:
        return min(ready, key=lambda ticket: ticket.seq)

    def charge(self, program: int, tokens: int, weight: float) -> None:
        """Nobody keeps count."""


@final
class Fair:
    """Weighted fair over programs."""

    name = "fair"

    def __init__(self) -> None:
        self._service: dict[int, float] = {}
        self._here: set[int] = set()

    def arrive(self, program: int) -> None:
        """A newcomer starts at the least of those who are here; who comes back keeps what it is ahead by."""
        if program not in self._here:
            floor = self._floor()
            self._service[program] = max(self._service.get(program, floor), floor)
            self._here.add(program)

    def leave(self, program: int) -> None:
        """Who is not ahead of the least would start there anyway: it is forgotten."""
        self._here.discard(program)
        floor = self._floor()
        for gone in [p for p, v in self._service.items() if p not in self._here and v <= floor]:
            del self._service[gone]
        if not self._here:
            self._service.clear()

    def choose(self, ready: Sequence[Ticket]) -> Ticket:
        return min(ready, key=lambda ticket: (self._service[ticket.process.program], ticket.seq))

    def served(self, program: int) -> float:
        """What a program that is here was served."""
        return self._service[program]

    def charge(self, program: int, tokens: int, weight: float) -> None:
        self._service[program] += tokens * WEIGHT_NICE_0 / weight

    def _floor(self) -> float:
        return min((self._service[program] for program in self._here), default=0.0)


POLICIES: dict[str, Callable[[], Policy]] = {"fair": Fair, "fcfs": Fcfs}


@final
class Extended:
    """An extension's policy at one device. The fair one keeps the books for it, and decides where it does not."""

    fallback = Fair.name

    def __init__(self, watched: Watched[SchedulingPolicy], device: str, clock: Clock) -> None:
        self._watched = watched
        self._device = device
        self._clock = clock
        self._fair = Fair()

    @property
    def name(self) -> str:
        return self.fallback if self._watched.disabled else self._watched.name

    def arrive(self, program: int) -> None:
        self._fair.arrive(program)

    def leave(self, program: int) -> None:
        self._fair.leave(program)

    def charge(self, program: int, tokens: int, weight: float) -> None:
        self._fair.charge(program, tokens, weight)

    def choose(self, ready: Sequence[Ticket]) -> Ticket:
        if self._watched.disabled:
            return self._fair.choose(ready)
        by_number = {ticket.seq: ticket for ticket in ready}
        claims = tuple(map(self._claim, ready))

        def accept(answer: Any) -> Ticket:
            if type(answer) is not int or answer not in by_number:
                raise Nonsense(f"{_short(answer)} is the number of no claim")
            return by_number[answer]

        chosen = self._watched.ask(lambda policy: policy.choose(claims), accept)
        return self._fair.choose(ready) if chosen is None else chosen

    def _claim(self, ticket: Ticket) -> Claim:
        process = ticket.process
        return Claim(
            number=ticket.seq,
            device=self._device,
            program=process.program,
            pid=process.pid,
            principal=process.principal,
            nice=process.nice,
            tokens=ticket.cost,
            served=self._fair.served(process.program),
            overtaken=ticket.overtaken,
            waited_s=self._clock.now() - ticket.since_s,
        )


def _short(answer: Any) -> str:
    return str(answer) if type(answer) is int else f"a {type(answer).__name__}"

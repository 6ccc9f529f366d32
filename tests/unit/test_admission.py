"""Whom front doors let in: tickets are for one, once and soon."""

from typing import Any

import pytest

from kernel.admission import Admissions, Identity
from kernos.testing import up
from syscalls.calls.admission import Admit
from syscalls.errors import Invalid, TryAgain
from syscalls.rights import parse_rights


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Someone:
    def __init__(self, principal: str, *ids: str) -> None:
        self.identity = identity(principal, *ids)
        self.expelled = ""

    def expel(self, reason: str) -> None:
        self.expelled = reason


def identity(principal: str = "ann", *ids: str) -> Identity:
    return Identity(principal, parse_rights(["model:*"]), frozenset(ids))


def admissions(time: Time) -> Admissions:
    return Admissions(time, tickets_max=2, ticket_s=5.0, guests_max=3, guests_each_max=2)


def test_a_ticket_is_used_once() -> None:
    doors = admissions(Time())
    ticket = doors.admit(identity())
    assert doors.redeem(ticket) == identity()
    assert doors.redeem(ticket) is None
    assert doors.redeem(b"") is None and doors.redeem(b"x" * 32) is None


def test_a_ticket_is_used_soon() -> None:
    time = Time()
    doors = admissions(time)
    ticket = doors.admit(identity())
    time.now = 5.0
    assert doors.redeem(ticket) is None


def test_tickets_are_bounded_and_room_comes_with_time() -> None:
    time = Time()
    doors = admissions(time)
    doors.admit(identity()), doors.admit(identity())
    with pytest.raises(TryAgain, match="2 admissions wait"):
        doors.admit(identity())
    time.now = 6.0
    assert doors.admit(identity())


def test_guests_are_bounded_in_all_and_each() -> None:
    doors = admissions(Time())
    doors.guests |= {Someone("ann"), Someone("ann")}
    assert "ann has 2 sessions" in doors.full("ann") and doors.full("bob") == ""
    doors.guests.add(Someone("bob"))
    assert "3 remote sessions are open" in doors.full("carl")


def test_what_is_revoked_ends_its_sessions_and_voids_its_tickets() -> None:
    doors = admissions(Time())
    hit, other = Someone("ann", "cert:1", "credential:2"), Someone("ann", "cert:3")
    doors.guests |= {hit, other}
    ticket = doors.admit(identity("ann", "credential:2"))
    assert doors.expel(frozenset({"credential:2"}), "it was revoked") == 1
    assert (hit.expelled, other.expelled) == ("EPERM: it was revoked", "")
    assert doors.redeem(ticket) is None


@pytest.mark.parametrize("name", ["", "kernel", "a b", "a/b", "x" * 65, "ä", "a\n"])
def test_nobody_is_asserted_under_a_name_that_cannot_be(name: str) -> None:
    with pytest.raises(Invalid, match="is no principal"):
        Identity.of(Admit(principal=name, rights=()))


def test_what_is_asserted_is_bounded() -> None:
    with pytest.raises(Invalid, match="33 ids"):
        Identity.of(Admit(principal="a", rights=(), ids=("x",) * 33))
    with pytest.raises(Invalid, match="is no right"):
        Identity.of(Admit(principal="a", rights=("everything",)))
    with pytest.raises(Invalid, match="257 rights"):
        Identity.of(Admit(principal="ann", rights=tuple(f"tool:{n}" for n in range(257))))


async def test_a_ticket_is_never_in_the_trace(autojump_clock: Any) -> None:
    async with up() as machine:
        admitted = await machine.sys.call("kernel.admit", principal="ann", rights=("model:*",))
        records = [record for record in await machine.trace() if record.name == "kernel.admit"]
        assert len(records) == 1 and admitted.ticket.hex() not in repr(records)
        assert repr(admitted.ticket)[2:20] not in repr(records)

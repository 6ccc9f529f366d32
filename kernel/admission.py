"""Whom front doors have let in: tickets that wait to be used, and the guests that came with one. Synchronous."""

import math
import re
import secrets
from collections.abc import Callable
from typing import Protocol, final

from msgspec import Struct

from syscalls.calls.admission import IDS_MAX, PRINCIPAL_CHARS_MAX, RIGHTS_MAX, Admit
from syscalls.errors import Invalid, TryAgain
from syscalls.rights import Right, parse_rights

TICKET_BYTES = 32
_NAME = re.compile(rf"[A-Za-z0-9._@-]{{1,{PRINCIPAL_CHARS_MAX}}}")
_NOBODYS = frozenset({"kernel"})


@final
class Identity(Struct, frozen=True):
    """A principal as a front door verified it."""

    principal: str
    rights: tuple[Right, ...]
    ids: frozenset[str] = frozenset()
    expires_s: float | None = None
    address: str = ""

    @classmethod
    def of(cls, args: Admit) -> "Identity":
        """What a front door asserts. Raises Invalid (EINVAL)."""
        if not _NAME.fullmatch(args.principal) or args.principal in _NOBODYS:
            raise Invalid(
                f"{args.principal!r} is no principal: letters, digits, '.', '_', '@', '-', at most "
                f"{PRINCIPAL_CHARS_MAX}, and not the kernel's own"
            )
        if len(args.ids) > IDS_MAX:
            raise Invalid(f"{len(args.ids)} ids; at most {IDS_MAX}")
        if len(args.rights) > RIGHTS_MAX:
            raise Invalid(f"{len(args.rights)} rights: a session holds {RIGHTS_MAX} at most; use wildcards")
        if args.expires_s is not None and not math.isfinite(args.expires_s):
            raise Invalid(f"it expires at {args.expires_s}: give seconds since 1970, or none for never")
        return cls(args.principal, parse_rights(args.rights), frozenset(args.ids), args.expires_s, args.address[:64])


class Guest(Protocol):
    """A session that came with a ticket."""

    @property
    def identity(self) -> Identity: ...
    def expel(self, reason: str) -> None: ...


@final
class Admissions:
    """Tickets are used once, within `ticket_s`. Everything is bounded: `tickets_max`, `guests_max`, and for one
    principal `guests_each_max`. `gateway` is the OS process of the gateway, 0 while there is none."""

    def __init__(
        self, now: Callable[[], float], *, tickets_max: int, ticket_s: float, guests_max: int, guests_each_max: int
    ) -> None:
        self.guests: set[Guest] = set()
        self.gateway = 0
        self._now = now
        self._tickets: dict[bytes, tuple[float, Identity]] = {}
        self._tickets_max = tickets_max
        self._ticket_s = ticket_s
        self._guests_max = guests_max
        self._guests_each_max = guests_each_max

    def admit(self, identity: Identity) -> bytes:
        """A ticket. Raises TryAgain (EAGAIN)."""
        now = self._now()
        self._tickets = {ticket: held for ticket, held in self._tickets.items() if held[0] > now}
        if len(self._tickets) >= self._tickets_max:
            raise TryAgain(f"{self._tickets_max} admissions wait to be used: try again in {self._ticket_s:g} s")
        ticket = secrets.token_bytes(TICKET_BYTES)
        self._tickets[ticket] = (now + self._ticket_s, identity)
        return ticket

    def redeem(self, ticket: bytes) -> Identity | None:
        """Whom the ticket is for; None if it is none, or too old. It is used up either way."""
        until, identity = self._tickets.pop(ticket, (0.0, None))
        return identity if until > self._now() else None

    def full(self, principal: str) -> str:
        """Why no further session of `principal` is let in; "" where one is."""
        if len(self.guests) >= self._guests_max:
            return f"EAGAIN: {self._guests_max} remote sessions are open: raise bounds.guests_max"
        if sum(guest.identity.principal == principal for guest in self.guests) >= self._guests_each_max:
            return (
                f"EAGAIN: {principal} has {self._guests_each_max} sessions: close some, or raise bounds.guests_each_max"
            )
        return ""

    def expel(self, ids: frozenset[str], reason: str) -> int:
        """Ends the sessions that hang on any of `ids`, and takes their tickets back; how many."""
        self._tickets = {ticket: held for ticket, held in self._tickets.items() if not held[1].ids & ids}
        hit = [guest for guest in self.guests if guest.identity.ids & ids]
        for guest in hit:
            guest.expel(f"EPERM: {reason}")
        return len(hit)

"""Guests: sessions that came with a ticket of a front door, and that outlive their connections by a lease."""

import secrets
from typing import NamedTuple, final

import trio

from kernel.admission import Guest, Identity
from kernel.doors.session import Sessions
from kernel.link import KernelLink
from kernel.loop import TRIO
from kernel.machine import Machine
from kernel.process import Process
from kernel.version import VERSION
from syscalls.errors import SyscallError
from syscalls.limits import ABI_VERSION, CLIENT_LIMITS
from syscalls.link.pump import LAST_WORDS_S
from syscalls.link.session import Joined, SessionOver, SessionTransport
from syscalls.link.transport import SocketTransport
from syscalls.rights import uncovered
from syscalls.session import FEATURE, ID_BYTES, SessionEnd, greeting
from syscalls.wire import HEADER_BYTES, Bye, Hello, encode, unlike

_LOOK_S = 5.0
"""A clock may be set while a session waits for its expiry."""
_FENCED = "EFENCED: another connection has taken this session over"


@final
class _Caller(NamedTuple):
    """A connection that wants to go on with a session."""

    connection: SocketTransport
    hello: Hello
    rest: bytes


@final
class RemoteSession:
    """One session: its process and link stay while its connections come and go."""

    def __init__(
        self, identity: Identity, process: Process, sessions: Sessions, *, lease_s: float, kept_bytes_max: int
    ) -> None:
        self.id = secrets.token_bytes(ID_BYTES)
        self.identity = identity
        self.process = process
        self._began_with = identity.rights
        self._lease_s = lease_s
        self._hello = Hello(info={"kernos": VERSION, "pid": str(process.pid), "lease_s": f"{lease_s:g}"})
        self._end = SessionEnd(CLIENT_LIMITS.frame_bytes_max)
        self._next: _Caller | None = None
        self._arrived = trio.Event()
        self.transport = SessionTransport(
            self._end, self._join, TRIO, kept_bytes_max=kept_bytes_max, ends_when_full=True
        )
        self.link: KernelLink = sessions.link(process, self.transport, self._hello)

    def unwelcome(self, hello: Hello, identity: Identity) -> str:
        """Why a connection may not go on with this session; "" where it may. It must be the same principal's, and
        show no less than the session began with."""
        if self.transport.reason:
            return f"EPIPE: that session has ended ({self.transport.reason})"
        if identity.principal != self.identity.principal:
            return "EPERM: this session is another principal's"
        beyond = uncovered(self._began_with, identity.rights)
        if beyond:
            return f"EPERM: this session holds '{beyond[0]}', which this credential does not give: begin another"
        if not self._end.admits(hello.received):
            return "EINVAL: this is not the client that the session belongs to: begin another"
        return ""

    def offer(self, connection: SocketTransport, hello: Hello, rest: bytes, identity: Identity) -> None:
        """A connection that takes the session over; the one before is fenced."""
        self.identity = identity
        fence = encode(Bye(_FENCED))
        if self._next is not None:
            self._next.connection.send_now(fence)
            self._next.connection.close()
        self._next = _Caller(connection, hello, rest)
        self._arrived.set()
        self.transport.drop(fence)

    def close(self) -> None:
        """The session has ended: nobody waits to go on with it, and what it kept is kept for nobody."""
        self._end.let_go()
        caller, self._next = self._next, None
        if caller is not None:
            caller.connection.close()

    def expel(self, reason: str) -> None:
        """Ends it for `reason`, at once, whether or not its client reads."""
        self.transport.end(reason, encode(Bye(reason)))

    async def _join(self) -> Joined:
        """The next connection, greeted. Raises SessionOver when none came within the lease."""
        with trio.move_on_after(self._lease_s):
            while True:
                while self._next is None:
                    self._arrived = trio.Event()
                    await self._arrived.wait()
                caller, self._next = self._next, None
                try:
                    await caller.connection.send_all(encode(greeting(self._hello, self.id, self._end.received)))
                except OSError:
                    caller.connection.close()
                else:
                    return Joined(caller.connection, caller.hello, caller.rest)
        raise SessionOver(f"EPIPE: the session's lease of {self._lease_s:g} s is over")


@final
class PassingSession:
    """A session of a client that asks for no lease: it ends with its connection."""

    def __init__(self, identity: Identity, process: Process, link: KernelLink) -> None:
        self.identity = identity
        self._process = process
        self._link = link

    def expel(self, reason: str) -> None:
        """Ends it for `reason`, whether or not its client reads."""
        self._link.wire.bye(reason)
        if self._process.stop_scope is not None:
            self._process.stop_scope.deadline = trio.current_time() + LAST_WORDS_S


@final
class Guests:
    """Lets in who comes with a ticket, to a session of its own or back to the one it has."""

    def __init__(self, machine: Machine, sessions: Sessions) -> None:
        self._machine = machine
        self._sessions = sessions
        self._lasting: dict[bytes, RemoteSession] = {}

    async def enter(self, connection: SocketTransport, hello: Hello, said: bytes, identity: Identity) -> None:
        """Serves a connection on which `hello` was said, `said` being all its bytes so far. Returns when its session
        has ended, or at once where it went back to one."""
        reason = self._unwelcome(hello, identity)
        session = self._lasting.get(hello.session) if hello.session else None
        if hello.session and not reason and session is None:
            reason = "EPIPE: the kernel has no such session: its lease is over, or the kernel was started anew"
        if session is not None and not reason:
            reason = session.unwelcome(hello, identity)
        if reason:
            self._machine.trace.event("denied", principal=identity.principal, address=identity.address, error=reason)
            await turn_away(connection, reason)
        elif session is not None:
            self._machine.trace.event("resume", pid=session.process.pid, address=identity.address)
            session.offer(connection, hello, rest_of(said), identity)
        else:
            await self._begin(connection, hello, said, identity)

    def _unwelcome(self, hello: Hello, identity: Identity) -> str:
        if hello.abi != ABI_VERSION:
            return unlike(hello.abi)
        if not identity.rights:
            return "EPERM: this credential allows nothing: get one that names a right"
        if not hello.session and hello.received:
            return f"EINVAL: {hello.received} frames received, in a session that only begins"
        return "" if hello.session else self._machine.admissions.full(identity.principal)

    async def _begin(self, connection: SocketTransport, hello: Hello, said: bytes, identity: Identity) -> None:
        try:
            process = self._sessions.open(identity.principal, identity.rights, name="remote")
        except SyscallError as full:
            await turn_away(connection, str(full))
            return
        self._machine.trace.event("remote", pid=process.pid, principal=identity.principal, address=identity.address)
        if FEATURE in hello.features:
            await self._lease(process, connection, hello, said, identity)
        else:
            connection.unread(said)
            link = self._sessions.link(process, connection)
            try:
                await self._host(PassingSession(identity, process, link), process, link)
            finally:
                connection.close()

    async def _lease(
        self, process: Process, connection: SocketTransport, hello: Hello, said: bytes, identity: Identity
    ) -> None:
        config = self._machine.config
        session = RemoteSession(
            identity,
            process,
            self._sessions,
            lease_s=config.listen.lease_s,
            kept_bytes_max=config.bounds.guest_bytes_max,
        )
        session.offer(connection, hello, rest_of(said), identity)
        self._lasting[session.id] = session
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.transport.run)
                await self._host(session, process, session.link)
                nursery.cancel_scope.cancel()
        finally:
            del self._lasting[session.id]
            session.close()

    async def _host(self, guest: Guest, process: Process, link: KernelLink) -> None:
        admissions = self._machine.admissions
        admissions.guests.add(guest)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._expire, guest)
                await self._sessions.serve(process, link)
                nursery.cancel_scope.cancel()
        finally:
            admissions.guests.discard(guest)

    async def _expire(self, guest: Guest) -> None:
        """Ends it when what its client showed is no longer good, by the date."""
        while True:
            until = guest.identity.expires_s
            left_s = _LOOK_S if until is None else until - self._machine.clock.unix()
            if left_s <= 0:
                guest.expel("EPERM: the credential has expired: get another")
                return
            await trio.sleep(min(left_s, _LOOK_S))


def rest_of(said: bytes) -> bytes:
    """What came behind the first frame."""
    return said[HEADER_BYTES + int.from_bytes(said[:HEADER_BYTES], "big") :]


async def turn_away(connection: SocketTransport, reason: str) -> None:
    """Says why, and closes the connection."""
    with trio.move_on_after(LAST_WORDS_S):
        try:
            await connection.send_all(encode(Bye(reason)))
        except OSError:
            pass
    connection.close()

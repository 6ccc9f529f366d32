"""Guests of a kernel in this process, on its virtual clock: sessions that outlive their connections by a lease."""

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, final

import pytest
import trio
from msgspec import Raw

from kernel import invariants
from kernel.admission import Identity
from kernel.config import Bounds
from kernel.doors.guest import Guests
from kernel.doors.session import Sessions
from kernel.loop import TRIO
from kernos.testing import up
from kernos.testing.machine import InProcess
from syscalls.calls import clock, message, process
from syscalls.codec import pack, unpack
from syscalls.errors import BrokenPipe, Fenced, NoSuchProcess, PermissionDenied
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.duplex import Duplex, NoServer
from syscalls.link.session import Joined, SessionOver, SessionTransport, first_frame
from syscalls.link.transport import SocketTransport
from syscalls.peer import Peer
from syscalls.rights import parse_rights
from syscalls.session import SessionEnd, greeting
from syscalls.wire import Bye, Cancel, Hello, encode


def identity(*rights: str, principal: str = "ann", expires_s: float | None = None) -> Identity:
    return Identity(principal, parse_rights(rights or ("**",)), frozenset({"id"}), expires_s, "10.0.0.1:9")


@final
class Client:
    """A client whose every connection the test can cut, and that comes back when it is let."""

    def __init__(self, rig: "Rig", shows: Identity, session: bytes = b"") -> None:
        self.end = SessionEnd(CLIENT_LIMITS.frame_bytes_max)
        self.session = session
        self.shows = shows
        self.may_come = trio.Event()
        self.may_come.set()
        self._rig = rig
        self._sock: socket.socket | None = None
        self.transport = SessionTransport(self.end, self._join, TRIO)
        self.link = Duplex(Peer(CLIENT_LIMITS, Hello()), self.transport, NoServer(), trio.Event)

    async def call(self, row: Any, args: Any) -> Any:
        return await self.link.call(row, args)

    def cut(self, *, stay_away: bool = False) -> None:
        if stay_away:
            self.may_come = trio.Event()
        assert self._sock is not None
        self._sock.shutdown(socket.SHUT_RDWR)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.transport.run)
            await self.link.run(TRIO)
            nursery.cancel_scope.cancel()

    async def _join(self) -> Joined:
        await self.may_come.wait()
        ours, self._sock = self._rig.connect(self.shows, self.session, self.end.received)
        joined = await first_frame(ours)
        if isinstance(joined, Bye):
            ours.close()
            raise SessionOver(joined.reason)
        self.session = joined.hello.session
        return joined


@final
class Rig:
    """The guests of one machine."""

    def __init__(self, machine: InProcess, nursery: trio.Nursery) -> None:
        self.machine = machine.machine
        running = machine._running
        assert running is not None
        self._guests = Guests(self.machine, Sessions(self.machine, running.gate, running.init))
        self._nursery = nursery

    def connect(self, shows: Identity, session: bytes, received: int) -> tuple[SocketTransport, socket.socket]:
        """A connection on which HELLO was said."""
        ours, theirs = socket.socketpair()
        hello = greeting(Hello(), session, received)
        self._nursery.start_soon(self._guests.enter, SocketTransport(theirs, TRIO), hello, encode(hello), shows)
        return SocketTransport(ours, TRIO), theirs

    async def client(self, *rights: str, **options: Any) -> Client:
        client = Client(self, identity(*rights, **options))
        self._nursery.start_soon(client.run)
        await client.link.greeted()
        return client

    def alive(self) -> list[int]:
        return [each.pid for each in self.machine.processes if each.name == "remote"]


@contextlib.asynccontextmanager
async def rig(**options: Any) -> AsyncIterator[Rig]:
    async with up(**options) as machine, trio.open_nursery() as nursery:
        yield Rig(machine, nursery)
        nursery.cancel_scope.cancel()
    invariants.check(machine.machine)


async def test_a_session_is_kept_for_its_lease_and_not_longer(autojump_clock: Any) -> None:
    async with rig() as kernel:
        client = await kernel.client()
        kernel._nursery.start_soon(_leave_and_come_too_late, client)
        with pytest.raises(BrokenPipe, match="no such session: its lease is over"):
            await client.call(clock.SLEEP, clock.Sleep(seconds=200))
        assert kernel.alive() == []
        ended = [r for r in kernel.machine.trace.since(0) if r.kind == "exit"]
        assert "lease of 60 s is over" in str(ended[-1].detail) and ended[-1].at_s == pytest.approx(70, abs=0.1)


async def _leave_and_come_too_late(client: Client) -> None:
    await trio.sleep(10)
    client.cut(stay_away=True)
    await trio.sleep(75)
    client.may_come.set()


async def test_a_call_goes_on_while_its_client_is_away(autojump_clock: Any) -> None:
    async with rig() as kernel:
        client = await kernel.client()
        began = trio.current_time()

        async def away() -> None:
            await trio.sleep(1)
            client.cut(stay_away=True)
            await trio.sleep(50)
            client.may_come.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(away)
            await client.call(clock.SLEEP, clock.Sleep(seconds=30))
            assert 50 < trio.current_time() - began < 55, "its answer waited, and it was not begun again"
        assert kernel.alive() == [(await client.call(process.SELF, process.Self())).pid]


async def test_each_message_is_delivered_once_over_any_number_of_cuts(autojump_clock: Any) -> None:
    async with rig() as kernel:
        client = await kernel.client()
        me = (await client.call(process.SELF, process.Self())).pid
        for n in range(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.call, message.SEND, message.Send(pid=me, body=Raw(pack(n))))
                if n % 3 == 0:
                    client.cut()
                await trio.lowlevel.checkpoint()
                if n % 5 == 0 and not client.transport.away:
                    client.cut()
        got = [unpack(int, (await client.call(message.RECEIVE, message.Receive())).body) for _ in range(60)]
        assert got == list(range(60))


async def test_what_is_kept_for_a_client_that_is_away_is_bounded(autojump_clock: Any) -> None:
    async with rig(bounds=Bounds(guest_bytes_max=1 << 18)) as kernel:
        client = await kernel.client()
        me = (await client.call(process.SELF, process.Self())).pid
        for _ in range(8):
            await client.call(message.SEND, message.Send(pid=me, body=Raw(pack("x" * 60_000))))
        tickets = [client.link.begin(message.RECEIVE, message.Receive(topic="later")) for _ in range(8)]
        await trio.sleep(1)
        client.cut(stay_away=True)
        await trio.sleep(1)
        sender = await kernel.client()
        with contextlib.suppress(NoSuchProcess):  # it ends before the last of them
            for _ in range(8):
                await sender.call(message.SEND, message.Send(pid=me, topic="later", body=Raw(pack("y" * 60_000))))
                await trio.sleep(1)
        assert me not in kernel.alive()
        ended = [r for r in kernel.machine.trace.since(0) if r.kind == "exit" and r.pid == me]
        assert "more than 262144 bytes are kept for a client that is away" in str(ended[0].detail)
        client.may_come.set()
        with pytest.raises(BrokenPipe, match="no such session"):
            await tickets[0].outcome()


async def test_the_newer_connection_has_the_session(autojump_clock: Any) -> None:
    async with rig() as kernel:
        client = await kernel.client()
        ours, _ = kernel.connect(client.shows, client.session, client.end.received)
        joined = await first_frame(ours)
        assert isinstance(joined, Joined) and joined.hello.session == client.session
        await client.link.ended()
        with pytest.raises(Fenced, match="another connection has taken this session over"):
            await client.call(process.SELF, process.Self())
        ours.close()


@pytest.mark.parametrize(
    ("shows", "received", "why"),
    [
        (identity(principal="bob"), 0, "EPERM: this session is another principal's"),
        (identity("model:*"), 0, "EPERM: this session holds '**', which this credential does not give"),
        (identity(), 10_000, "EINVAL: this is not the client that the session belongs to"),
        (identity(), -1, "EINVAL: this is not the client that the session belongs to"),
    ],
)
async def test_a_session_is_its_clients_alone(shows: Identity, received: int, why: str, autojump_clock: Any) -> None:
    async with rig() as kernel:
        client = await kernel.client()
        ours, _ = kernel.connect(shows, client.session, received)
        said = await first_frame(ours)
        assert isinstance(said, Bye) and said.reason.startswith(why)
        assert (await client.call(process.SELF, process.Self())).principal == "ann", "and it was not fenced"
        ours.close()


@pytest.mark.parametrize(
    ("session", "received", "why"),
    [(b"x" * 16, 0, "EPIPE: the kernel has no such session"), (b"", 3, "EINVAL: 3 frames received, in a session that")],
)
async def test_a_session_that_is_none(session: bytes, received: int, why: str, autojump_clock: Any) -> None:
    async with rig() as kernel:
        ours, _ = kernel.connect(identity(), session, received)
        said = await first_frame(ours)
        assert isinstance(said, Bye) and said.reason.startswith(why) and kernel.alive() == []
        ours.close()


async def test_who_may_nothing_is_not_let_in(autojump_clock: Any) -> None:
    async with rig() as kernel:
        ours, _ = kernel.connect(Identity("ann", ()), b"", 0)
        said = await first_frame(ours)
        assert isinstance(said, Bye) and said.reason.startswith("EPERM: this credential allows nothing")
        ours.close()


async def test_what_was_shown_expires_by_the_date_also_when_the_clock_is_set(autojump_clock: Any) -> None:
    async with rig() as kernel:
        date = kernel.machine.clock.unix()
        client = await kernel.client(expires_s=date + 1000)
        await trio.sleep(100)
        assert kernel.alive()
        kernel.machine.clock._wall = lambda: date + 2000
        with pytest.raises(PermissionDenied, match="has expired"):
            await client.call(clock.SLEEP, clock.Sleep(seconds=100))
        await trio.sleep(1)
        assert kernel.alive() == []


async def test_rights_are_the_credentials_and_not_the_operators(autojump_clock: Any) -> None:
    async with rig() as kernel:
        client = await kernel.client("process:self info")
        assert (await client.call(process.SELF, process.Self())).rights == ("process:self info",)
        with pytest.raises(PermissionDenied, match="process:\\* list"):
            await client.call(process.LIST, process.ListProcesses())


async def test_a_client_without_sessions_is_served_until_its_connection_ends(autojump_clock: Any) -> None:
    async with rig() as kernel:
        ours, theirs = socket.socketpair()
        served = SocketTransport(theirs, TRIO)
        kernel._nursery.start_soon(kernel._guests.enter, served, Hello(), b"", identity("process:self info"))
        link = Duplex(Peer(CLIENT_LIMITS, Hello()), SocketTransport(ours, TRIO), NoServer(), trio.Event)
        kernel._nursery.start_soon(link.run, TRIO)
        assert (await link.call(process.SELF, process.Self())).principal == "ann"
        assert len(kernel.alive()) == 1 and len(kernel.machine.admissions.guests) == 1
        kernel.machine.admissions.expel(frozenset({"id"}), "it was revoked")
        with pytest.raises(PermissionDenied, match="it was revoked"):
            await link.call(clock.SLEEP, clock.Sleep(seconds=100))
        await trio.sleep(1)
        assert kernel.alive() == [] and not kernel.machine.admissions.guests
        ours.close()


class Deaf:
    """A connection of a client that says what is never answered, and never reads."""

    def __init__(self) -> None:
        self.heard = 0

    async def receive_some(self, max_bytes: int, /) -> bytes:
        await trio.lowlevel.checkpoint()
        self.heard += 1
        return encode(Cancel(1)) * 32

    async def send_all(self, data: bytes, /) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_a_client_that_does_not_read_its_acknowledgements_is_read_no_further(autojump_clock: Any) -> None:
    end, deaf = SessionEnd(CLIENT_LIMITS.frame_bytes_max), Deaf()

    async def join() -> Joined:
        return Joined(deaf, Hello(), b"")

    transport = SessionTransport(end, join, TRIO, kept_bytes_max=2000, ends_when_full=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run)
        with trio.move_on_after(1):
            while deaf.heard < 5000:
                await transport.receive_some(65536)
        assert 100 < deaf.heard < 1000 and len(end.outbox) < 4000
        nursery.cancel_scope.cancel()
    end.put(encode(Cancel(2)))
    end.let_go()
    assert (len(end.outbox), end.kept_bytes) == (0, 0)

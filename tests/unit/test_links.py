"""The links: the same calls over a blocking socket, anyio on trio, anyio on asyncio and the kernel's raw trio."""

import itertools
import socket
import threading
from typing import Any

import anyio
import msgspec
import pytest
import trio
import trio.testing
from msgspec import Raw

from syscalls.calls import clock, process
from syscalls.codec import pack, parse_args
from syscalls.errors import BrokenPipe, Errno, Invalid, NotFound
from syscalls.limits import CLIENT_LIMITS, TINY_LIMITS
from syscalls.link import async_
from syscalls.link.blocking import BlockingLink
from syscalls.link.duplex import Duplex, NoServer
from syscalls.link.pump import AT_ONCE_S, FRAMES_AT_ONCE, ROUNDS_MAX
from syscalls.peer import Peer
from syscalls.table import TABLE
from syscalls.wire import BlobRef, Call, Cancel, Chunk, Event, Frame, Hello, encode
from userland.link import TRIO


class Refusing:
    """Answers every call with a long error."""

    def __init__(self) -> None:
        self.served = 0

    def on_call(self, link: Duplex, call: Call) -> None:
        self.served += 1
        link.error(call.id, Errno.ENOENT, "no" * 50)

    def on_cancel(self, link: Duplex, cancel: Cancel) -> None:
        pass

    def on_event(self, link: Duplex, event: Event) -> None:
        pass


class Silent:
    """Takes every call and answers none."""

    def __init__(self) -> None:
        self.served = 0

    def on_call(self, link: Duplex, call: Call) -> None:
        self.served += 1

    def on_cancel(self, link: Duplex, cancel: Cancel) -> None:
        pass

    def on_event(self, link: Duplex, event: Event) -> None:
        pass


class Clockwork:
    """Serves a handful of rows, as a kernel would; remembers what was cancelled."""

    def __init__(self) -> None:
        self.cancelled: list[int] = []
        self.open: list[int] = []

    def on_call(self, link: Duplex, call: Call) -> None:
        row = TABLE[call.number] if isinstance(call.number, int) else None
        if row is clock.NOW:
            link.reply(call.id, clock.Time(monotonic_s=1.5, unix_s=2.5))
        elif row is process.OUTPUT:
            link.reply(call.id, parse_args(row, call.args))
        elif row is process.LOGS:
            lines = [process.LogLine(at_s=0, pid=n, stream="stdout", text="") for n in range(300)]
            link.items(call.id, [Raw(pack(line)) for line in lines])
            link.end(call.id, process.Nothing())
        elif row is clock.SLEEP:
            self.open.append(call.id)
        else:
            link.error(call.id, Errno.ENOENT, "no such thing here")

    def on_cancel(self, link: Duplex, cancel: Cancel) -> None:
        self.cancelled.append(cancel.id)
        link.error(cancel.id, Errno.ECANCELED, "cancelled")

    def on_event(self, link: Duplex, event: Event) -> None:
        pass


async def exercise(link: Duplex) -> None:
    """What every async client must be able to do."""
    assert (await link.call(clock.NOW, clock.Now())).unix_s == 2.5
    with pytest.raises(NotFound, match="no such thing"):
        await link.call(process.WAIT, process.Wait())
    async with link.stream(process.LOGS, process.Logs(pid=1), credit=7) as lines:
        pids = [line.pid async for line in lines]
    assert pids == list(range(300))
    async with link.stream(process.LOGS, process.Logs(pid=1), credit=1) as lines:
        async for _ in lines:
            break
    text = "x" * 3_000_000
    echo = msgspec.structs.replace(process.OUTPUT, result=process.Output)
    assert (await link.call(echo, process.Output(stream="log", text=text))).text == text
    assert (await link.call(clock.NOW, clock.Now())).monotonic_s == 1.5


def serve_in_thread(sock: socket.socket, server: Clockwork) -> threading.Thread:
    async def main() -> None:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        async with stream, async_.opened(stream, server=server) as link:
            await link.ended()

    thread = threading.Thread(target=lambda: trio.run(main), daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_the_async_link_on_both_loops(backend: str) -> None:
    ours, theirs = socket.socketpair()
    server = Clockwork()
    thread = serve_in_thread(theirs, server)

    async def main() -> None:
        async with async_.adopt(ours) as link:
            await link.greeted()
            await exercise(link)
            with anyio.move_on_after(0.05):
                await link.call(clock.SLEEP, clock.Sleep(seconds=9))
            while not server.cancelled:  # noqa: ASYNC110 (it is in another thread)
                await anyio.sleep(0.001)

    anyio.run(main, backend=backend)
    thread.join(5)
    assert server.cancelled == server.open


def test_the_blocking_link() -> None:
    ours, theirs = socket.socketpair()
    thread = serve_in_thread(theirs, Clockwork())
    with BlockingLink(ours) as link:
        assert link.call(clock.NOW, clock.Now()).unix_s == 2.5
        with pytest.raises(NotFound):
            link.call(process.WAIT, process.Wait())
        assert len(list(link.stream(process.LOGS, process.Logs(pid=1)))) == 300
        stream = link.stream(process.LOGS, process.Logs(pid=1))
        next(stream)
        stream.close()
        assert link.call(clock.NOW, clock.Now()).unix_s == 2.5, "what was left unread is in nobody's way"
    thread.join(5)
    with pytest.raises(BrokenPipe):
        link.call(clock.NOW, clock.Now())


def test_a_link_that_cannot_say_hello_leaves_no_socket() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(BrokenPipe):
        BlockingLink(ours)
    assert ours.fileno() == -1


async def test_every_call_fails_when_the_other_end_is_gone() -> None:
    ours, theirs = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    async with stream, async_.opened(stream) as link:
        errors: list[Any] = []

        async def call() -> None:
            try:
                await link.call(clock.SLEEP, clock.Sleep(seconds=1))
            except BrokenPipe as gone:
                errors.append(gone)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            theirs.close()
        assert len(errors) == 3
        with pytest.raises(BrokenPipe):
            await link.call(clock.NOW, clock.Now())


async def test_drained_waits_for_the_reader_and_not_beyond_its_end() -> None:
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), None, NoServer(), trio.Event)  # type: ignore[arg-type]
    other = Peer(CLIENT_LIMITS, Hello())
    link.peer.receive(bytes(other.outbox))
    other.outbox.clear()
    call_id = other.call(8, b"\xc0", credit=1)
    link.peer.receive(bytes(other.outbox))
    link.items(call_id, [Raw(b"\x01"), Raw(b"\x02")])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.drained, call_id)
        await trio.testing.wait_all_tasks_blocked()
        assert link.peer.waiting(call_id) == 1
        link.hang_up("gone")


async def test_a_caller_that_reads_no_answers_is_not_read_from() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    server = Refusing()
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), ours, server, trio.Event, outbox_bytes_max=1000)
    other = Peer(CLIENT_LIMITS, Hello())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.writer)
        nursery.start_soon(link.reader)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(_calls, other, theirs, 900)
        await trio.testing.wait_all_tasks_blocked()
        assert server.served < 100, "it would have answered them all, and kept the answers"
        assert link.peer.unsent_bytes < 3000
        while server.served < 900:
            await theirs.receive_some(65536)
        nursery.cancel_scope.cancel()


async def _calls(peer: Peer, stream: trio.abc.SendStream, n: int) -> None:
    for _ in range(n):
        peer.call(8, b"\xc0")
        data, peer.outbox = bytes(peer.outbox), bytearray()
        await stream.send_all(data)


async def test_what_a_sink_refuses_ends_its_call_and_not_the_link() -> None:
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), None, NoServer(), trio.Event)  # type: ignore[arg-type]
    other = Peer(CLIENT_LIMITS, Hello())
    link.peer.receive(bytes(other.outbox))
    other.receive(bytes(link.peer.outbox))
    link.peer.outbox.clear()
    other.outbox.clear()

    def refuse(items: list[Raw]) -> None:
        raise NotFound("not so")

    async def ask() -> None:
        with pytest.raises(NotFound, match="not so"):
            await link.pour(process.LOGS, process.Logs(pid=1), refuse, credit=8)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        other.receive(bytes(link.peer.outbox))
        other.items(1, [Raw(b"\x01")])
        for frame in link.peer.receive(bytes(other.outbox)):
            link._dispatch(frame)


def test_an_argument_that_no_blob_holds_is_einval_on_the_blocking_link_too() -> None:
    ours, theirs = socket.socketpair()
    with theirs, BlockingLink(ours, limits=TINY_LIMITS) as link, pytest.raises(Invalid, match="at most 2048"):
        link.call(process.OUTPUT, process.Output(stream="log", text="x" * 4000))


async def test_an_argument_that_no_blob_holds_is_einval() -> None:
    link = Duplex(Peer(TINY_LIMITS, Hello()), None, NoServer(), trio.Event)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="at most 2048"):
        await link.call(process.OUTPUT, process.Output(stream="log", text="x" * 4000))


class Scripted:
    """A socket that has at once what it was given, and takes what it is sent; it counts who had to wait."""

    def __init__(self, *there: bytes | None) -> None:
        self.there = list(there)
        self.sent = bytearray()
        self.waits = 0

    async def receive_some(self, max_bytes: int, /) -> bytes:
        self.waits += 1
        await trio.lowlevel.checkpoint()
        while self.there:
            found = self.there.pop(0)
            if found is not None:
                return found
        return b""

    async def send_all(self, data: bytes, /) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += data

    def send_now(self, data: bytes | bytearray, /) -> int:
        self.sent += data
        return len(data)

    def receive_now(self, max_bytes: int, /) -> bytes | None:
        return self.there.pop(0) if self.there else None

    def answer_now(self, max_bytes: int, /) -> bytes | None:
        return self.receive_now(max_bytes)


def _frames_of_calls(n: int) -> list[bytes]:
    peer = Peer(CLIENT_LIMITS, Hello())
    frames = [bytes(peer.outbox)]
    for _ in range(n):
        peer.outbox.clear()
        peer.call(8, b"\xc0")
        frames.append(bytes(peer.outbox))
    return frames


async def test_what_has_come_while_an_answer_left_is_read_without_waiting_but_not_for_ever() -> None:
    transport = Scripted(*_frames_of_calls(40))
    server = Refusing()
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), transport, server, trio.Event)
    await link.reader()
    assert server.served == 40
    assert 41 / (1 + ROUNDS_MAX) <= transport.waits - 1 <= 41 / ROUNDS_MAX + 1, "others had their turn in between"


async def test_who_finds_nothing_gives_up_looking_and_still_hears_all() -> None:
    hello, *calls = _frames_of_calls(200)
    transport = Scripted(hello, *(piece for call in calls for piece in (None, call)))
    server = Refusing()
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), transport, server, trio.Event)
    await link.reader()
    assert server.served == 200


async def test_a_large_batch_is_not_followed_by_another_without_a_pause() -> None:
    hello, *calls = _frames_of_calls(400)
    batches = [b"".join(calls[at : at + 100]) for at in range(0, 400, 100)]
    transport, server = Scripted(hello, *batches), Silent()
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), transport, server, trio.Event)
    await link.reader()
    assert server.served == 400 and not link.peer.outbox, "no answer waits that would be a reason to pause"
    assert transport.waits == 1 + len(batches), "each but the first was waited for, and so was the end"


@pytest.mark.parametrize(("each_s", "frames"), [(0.0, FRAMES_AT_ONCE), (AT_ONCE_S, 2), (2 * AT_ONCE_S, 1)])
async def test_others_have_their_turn_within_a_batch(
    each_s: float, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many frames, or once they took so long."""
    ticks = (n * each_s for n in itertools.count())
    monkeypatch.setattr("syscalls.link.pump.perf_counter", lambda: next(ticks))
    hello, *calls = _frames_of_calls(512)
    server, seen = Silent(), [0]
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), Scripted(hello, b"".join(calls)), server, trio.Event)

    async def others() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            seen.append(server.served)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        await link.run(TRIO)
        nursery.cancel_scope.cancel()
    assert server.served == 512
    between = max(after - before for before, after in itertools.pairwise(seen))
    assert between <= 2 * frames, "who is first in a round is left to chance, so it may be two"


async def test_one_caller_sends_by_itself_and_many_share_a_send() -> None:
    transport = Scripted()
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), transport, NoServer(), trio.Event)
    link.flush()
    assert transport.sent, "HELLO is out, and nobody had to be woken for it"
    before = len(transport.sent)
    for _ in range(3):
        link.begin(clock.NOW, clock.Now())
    assert len(transport.sent) == before, "until something is read, what follows waits for the writer"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.writer)
        await trio.testing.wait_all_tasks_blocked()
        assert not link.peer.outbox
        nursery.cancel_scope.cancel()


class Prompt:
    """A kernel that has answered every call before the caller looks; `waits` counts those who waited all the same."""

    def __init__(self) -> None:
        self.peer = Peer(CLIENT_LIMITS, Hello())
        self.asked = trio.Event()
        self.waits = 0

    def send_now(self, data: bytes | bytearray, /) -> int:
        for frame in self.peer.receive(bytes(data)):
            if isinstance(frame, Call):
                self.peer.reply(frame.id, pack(clock.Time(monotonic_s=1.0, unix_s=float(frame.id))))
        self.asked.set()
        return len(data)

    def receive_now(self, max_bytes: int, /) -> bytes | None:
        data = bytes(self.peer.outbox)
        self.peer.outbox.clear()
        return data or None

    answer_now = receive_now

    async def receive_some(self, max_bytes: int, /) -> bytes:
        while not self.peer.outbox:
            self.asked = trio.Event()
            await self.asked.wait()
        self.waits += 1
        return self.receive_now(max_bytes) or b""

    async def send_all(self, data: bytes, /) -> None:
        await trio.lowlevel.checkpoint()
        self.send_now(data)


async def test_a_caller_takes_an_answer_that_is_there_and_still_lets_others_run_and_itself_be_cancelled() -> None:
    transport = Prompt()
    link = Duplex(Peer(CLIENT_LIMITS, Hello()), transport, NoServer(), trio.Event)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run, TRIO)
        link.flush()
        await link.greeted()
        nursery.start_soon(other)
        await trio.lowlevel.checkpoint()
        before, turns = transport.waits, 0
        for n in range(1, 91):
            assert (await link.call(clock.NOW, clock.Now())).unix_s == n
        waited = transport.waits - before
        assert 90 // (ROUNDS_MAX + 1) <= waited <= 20, "most were not waited for, some had to be"
        assert turns >= waited
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.call(clock.NOW, clock.Now())
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


def test_events_for_one_that_does_not_read_do_not_pile_up() -> None:
    """A program could signal its own child, which sleeps, until the kernel's memory is full."""
    link = Duplex(Peer(TINY_LIMITS, Hello()), None, NoServer(), trio.Event)  # type: ignore[arg-type]
    for _ in range(TINY_LIMITS.blob_total_bytes_max):
        link.event(7, "USR1")
    assert link.peer.unsent_bytes < TINY_LIMITS.blob_total_bytes_max + 100


def test_a_link_that_has_ended_keeps_nothing() -> None:
    """It lies in a circle of references: what it had kept until garbage is sought would be as good as kept for ever."""
    peer = Peer(TINY_LIMITS, Hello())
    link = Duplex(peer, None, NoServer(), trio.Event)  # type: ignore[arg-type]
    half = Call(2, 0, 7, blob=BlobRef(1, 200, b"d" * 16))
    came: list[Frame] = [Hello(), Call(1, 0, 7), half, Chunk(1, 0, b"x" * 100)]
    peer.receive(b"".join(map(encode, came)))
    link.reply(1, "x" * 1500)
    assert peer.unsent_bytes > 1500 and peer.serving == 1 and peer._bulk.arriving_bytes == 200
    link.hang_up("gone")
    assert (peer.unsent_bytes, peer.serving, peer._bulk.arriving_bytes) == (0, 0, 0)
    link.error(2, 5, "too late")
    assert peer.unsent_bytes == 0

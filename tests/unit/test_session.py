"""Sessions: two peers over connections that break anywhere, and whatever happens each call is executed once and each
item arrives once, in order."""

from collections import deque

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Raw

from syscalls.limits import TINY_LIMITS
from syscalls.peer import Peer
from syscalls.session import Ack, SessionEnd, greeting, lease_of
from syscalls.wire import Bye, Call, Cancel, Credit, End, Error, Frame, Hello, Items, Reply, WireError, encode

CREDIT = 4


def pack(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def ack(n: int) -> bytes:
    body = pack(Ack(n))
    return len(body).to_bytes(4, "big") + body


class Ended:
    """A peer on one end of a session, and what it was handed."""

    def __init__(self) -> None:
        self.peer = Peer(TINY_LIMITS, Hello())
        self.session = SessionEnd(TINY_LIMITS.frame_bytes_max)
        self.got: deque[Frame] = deque()
        self.peer.receive(encode(Hello()))

    def flush(self) -> None:
        data, self.peer.outbox = bytes(self.peer.outbox), bytearray()
        self.session.put(data)

    def hear(self, data: bytes) -> None:
        self.got.extend(self.peer.receive(self.session.feed(data)))


class Line:
    """Bytes on their way, either way."""

    def __init__(self) -> None:
        self.up = bytearray()
        self.down = bytearray()


class Sessions(RuleBasedStateMachine):
    """A client that calls, a kernel that answers, and a line that is cut at any byte."""

    def __init__(self) -> None:
        super().__init__()
        self.client, self.kernel = Ended(), Ended()
        self.line: Line | None = None
        self.made: dict[int, str] = {}
        self.executed: list[int] = []
        self.answers: dict[int, list[object]] = {}
        self.open: dict[int, int] = {}
        self.taken: dict[int, list[int]] = {}
        self.cancelled: set[int] = set()
        self.connect()

    @precondition(lambda self: self.line is None)
    @rule()
    def connect(self) -> None:
        self.line = Line()
        client, kernel = self.client.session, self.kernel.session
        told = client.received
        kernel.resume(told)
        client.resume(kernel.received)

    @precondition(lambda self: self.line is not None)
    @rule()
    def cut(self) -> None:
        self.line = None
        self.client.session.lose()
        if len(self.made) % 2:  # the kernel may learn of it only when the client comes back
            self.kernel.session.lose()

    @rule(stream=st.booleans(), size=st.sampled_from([1, 40, 700]))
    def call(self, stream: bool, size: int) -> None:
        if self.client.peer.calls_open >= TINY_LIMITS.calls_max:
            return
        try:
            call_id = self.client.peer.call(7, pack([len(self.made), "x" * size]), credit=CREDIT if stream else 0)
        except BlockingIOError:
            return
        self.made[call_id] = "stream" if stream else "call"
        self.answers[call_id], self.taken[call_id] = [], []

    @rule()
    def serve(self) -> None:
        while self.kernel.got:
            frame = self.kernel.got.popleft()
            if isinstance(frame, Call):
                self.executed.append(frame.id)
                self.open[frame.id] = 0
            elif isinstance(frame, Cancel) and frame.id in self.open:
                del self.open[frame.id]
                self.kernel.peer.error(frame.id, 9, "cancelled")
            else:
                assert isinstance(frame, Credit | Cancel), frame

    @rule(data=st.data(), size=st.sampled_from([1, 90, 900]))
    def answer(self, data: st.DataObject, size: int) -> None:
        if not self.open:
            return
        call_id = data.draw(st.sampled_from(sorted(self.open)))
        if self.made[call_id] == "stream" and self.open[call_id] < 9:
            items = [Raw(pack(self.open[call_id] + n)) for n in range(3)]
            self.open[call_id] += 3
            self.kernel.peer.items(call_id, items)
        elif self.made[call_id] == "stream":
            del self.open[call_id]
            self.kernel.peer.end(call_id, pack("z" * size))
        else:
            del self.open[call_id]
            self.kernel.peer.reply(call_id, pack("z" * size))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiting = [call_id for call_id, got in self.answers.items() if not got]
        if waiting:
            call_id = data.draw(st.sampled_from(waiting))
            self.cancelled.add(call_id)
            self.client.peer.cancel(call_id)

    @rule()
    def read(self) -> None:
        while self.client.got:
            frame = self.client.got.popleft()
            if isinstance(frame, Items):
                self.taken[frame.id] += [msgspec.msgpack.decode(item) for item in frame.items]
                self.client.peer.take(frame.id, len(frame.items))
            else:
                assert isinstance(frame, Reply | End | Error), frame
                self.answers[frame.id].append(frame)

    @precondition(lambda self: self.line is not None)
    @rule(up=st.integers(0, 300), down=st.integers(0, 300))
    def carry(self, up: int, down: int) -> None:
        assert self.line is not None
        for end, lane in ((self.client, self.line.up), (self.kernel, self.line.down)):
            end.flush()
            lane += end.session.outbox
            end.session.outbox.clear()
        moved_up, moved_down = bytes(self.line.up[:up]), bytes(self.line.down[:down])
        del self.line.up[:up], self.line.down[:down]
        self.kernel.hear(moved_up)
        self.client.hear(moved_down)

    @invariant()
    def nothing_twice(self) -> None:
        assert len(self.executed) == len(set(self.executed)), "a call was executed twice"
        assert all(len(got) <= 1 for got in self.answers.values()), "a call was answered twice"
        assert all(items == list(range(len(items))) for items in self.taken.values()), "items lost, doubled or mixed"
        assert self.client.peer.closed is None and self.kernel.peer.closed is None

    def teardown(self) -> None:
        if self.line is None:
            self.connect()
        for _ in range(60):
            self.carry(100_000, 100_000)
            self.serve()
            for call_id in list(self.open):
                del self.open[call_id]
                self.kernel.peer.end(call_id, pack("done"))
            self.read()
        never_whole = self.cancelled - set(self.executed)
        assert set(self.executed) == set(self.made) - never_whole, "a call was lost"
        for call_id in self.made:
            assert len(self.answers[call_id]) == 1, f"call {call_id} was never answered"
        for end in (self.client, self.kernel):
            assert end.session.kept_bytes < 32 * 260, "what was acknowledged is kept"
        self.nothing_twice()


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)


def frames(*given: Frame) -> bytes:
    return b"".join(encode(frame) for frame in given)


def test_hello_is_each_connections_own() -> None:
    end = SessionEnd(256)
    end.resume(0)
    end.put(frames(Hello(), Cancel(1)))
    assert end.sent == 1 and bytes(end.outbox) == frames(Cancel(1))


def test_a_frame_cut_in_the_middle_comes_again_whole() -> None:
    ours, theirs = SessionEnd(256), SessionEnd(256)
    ours.put(frames(Cancel(1), Cancel(2)))
    ours.resume(0)
    assert theirs.feed(bytes(ours.outbox[:-3])) == frames(Cancel(1))
    theirs.lose()
    ours.resume(theirs.received)
    assert theirs.feed(bytes(ours.outbox)) == frames(Cancel(2))


def test_what_is_acknowledged_is_not_kept() -> None:
    ours, theirs = SessionEnd(256), SessionEnd(256)
    ours.resume(0)
    for n in range(1, 101):
        ours.put(frames(Cancel(n)))
        theirs.feed(bytes(ours.outbox))
        ours.outbox.clear()
        ours.feed(bytes(theirs.outbox))
        theirs.outbox.clear()
    assert ours.kept_bytes <= 32 * len(frames(Cancel(100)))


@pytest.mark.parametrize("lie", [3, -1, 1 << 62])
def test_nobody_acknowledges_what_was_never_sent(lie: int) -> None:
    end = SessionEnd(256)
    end.put(frames(Cancel(1), Cancel(2)))
    end.resume(0)
    with pytest.raises(WireError, match="acknowledged, of 2 sent"):
        end.feed(ack(lie))
    with pytest.raises(WireError, match="not the same session"):
        end.resume(lie)


def test_what_was_acknowledged_cannot_be_asked_for_again() -> None:
    end = SessionEnd(256)
    end.put(frames(Cancel(1), Cancel(2)))
    end.resume(2)
    with pytest.raises(WireError, match="not the same session"):
        end.resume(1)


@pytest.mark.parametrize("body", [b"\x92\x0b\xa1x", b"\x91\x0b", b"\x92\x0b"])
def test_a_crooked_acknowledgement_is_no_crash(body: bytes) -> None:
    end = SessionEnd(256)
    end.resume(0)
    with pytest.raises(WireError, match="no ACK"):
        end.feed(len(body).to_bytes(4, "big") + body)


def test_an_oversized_frame_is_for_the_peer_to_refuse_and_is_not_buffered() -> None:
    end = SessionEnd(256)
    peer = Peer(TINY_LIMITS, Hello())
    peer.receive(encode(Hello()))
    with pytest.raises(WireError, match="4294967295 bytes"):
        peer.receive(end.feed(b"\xff\xff\xff\xff" + b"x" * 1000))


def test_a_hello_says_which_session_and_how_far() -> None:
    hello = greeting(Hello(features=("z",)), b"id", 7)
    assert (hello.features, hello.session, hello.received) == (("session", "z"), b"id", 7)


def test_the_client_learns_the_lease_or_why_there_is_none() -> None:
    assert lease_of(Hello(features=("session",), session=b"i", info={"lease_s": "2.5"}), "k") == 2.5
    assert lease_of(Hello(features=("session",), session=b"i", info={"lease_s": "soon"}), "k") == 60
    with pytest.raises(BrokenPipeError, match="k keeps no sessions"):
        lease_of(Hello(), "k")
    with pytest.raises(BrokenPipeError, match="one end speaks ABI 1, the other ABI 2: upgrade"):
        lease_of(Hello(abi=2, features=("session",), session=b"i"), "k")


def test_bye_is_counted_as_all_else_is() -> None:
    end = SessionEnd(256)
    end.resume(0)
    assert end.feed(frames(Bye("done"))) == frames(Bye("done")) and end.received == 1

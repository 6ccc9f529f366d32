"""The peer: two of them, any calls, any cuts, and what happens when one of them lies."""

from collections import deque

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from msgspec import Raw

from syscalls.errors import Errno
from syscalls.limits import CLIENT_LIMITS, TINY_LIMITS, PeerLimits
from syscalls.peer import Peer
from syscalls.wire import (
    BlobRef,
    Bye,
    Call,
    Cancel,
    Chunk,
    Credit,
    End,
    Error,
    Frame,
    Hello,
    Items,
    Reply,
    WireError,
    encode,
)


def pack(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


class Pair:
    """Two peers and the bytes between them."""

    def __init__(self, limits: PeerLimits = TINY_LIMITS) -> None:
        self.a = Peer(limits, Hello())
        self.b = Peer(limits, Hello())
        self.a_got: list[Frame] = []
        self.b_got: list[Frame] = []
        self.settle()

    def settle(self) -> None:
        """Carries bytes to and fro until nothing moves."""
        while self.a.outbox or self.b.outbox:
            self.carry(len(self.a.outbox), len(self.b.outbox))

    def carry(self, from_a: int, from_b: int) -> None:
        to_b, self.a.outbox = bytes(self.a.outbox[:from_a]), self.a.outbox[from_a:]
        to_a, self.b.outbox = bytes(self.b.outbox[:from_b]), self.b.outbox[from_b:]
        self.b_got += self.b.receive(to_b)
        self.a_got += self.a.receive(to_a)

    def calls(self) -> list[Call]:
        return [frame for frame in self.b_got if isinstance(frame, Call)]


def test_a_call_and_its_reply() -> None:
    pair = Pair()
    call_id = pair.a.call(7, pack([1, 2]))
    pair.settle()
    (call,) = pair.calls()
    assert (call.id, call.number, msgspec.msgpack.decode(call.args)) == (call_id, 7, [1, 2])
    pair.b.reply(call.id, pack("fine"))
    pair.settle()
    reply = pair.a_got[-1]
    assert isinstance(reply, Reply)
    assert msgspec.msgpack.decode(reply.result) == "fine"
    assert pair.a.calls_open == pair.b.serving == 0


def test_what_does_not_fit_a_frame_arrives_whole() -> None:
    pair = Pair()
    big = pack("x" * 1500)
    pair.a.call(7, big)
    pair.settle()
    (call,) = pair.calls()
    assert bytes(call.args) == big
    pair.b.reply(call.id, big)
    pair.settle()
    reply = pair.a_got[-1]
    assert isinstance(reply, Reply)
    assert bytes(reply.result) == big


def test_what_no_blob_may_hold_is_refused_here_and_the_link_lives() -> None:
    pair = Pair()
    with pytest.raises(ValueError, match="at most 2048"):
        pair.a.call(7, pack("x" * 4000))
    pair.a.call(8, pack(1))
    pair.settle()
    pair.b.reply(pair.calls()[0].id, pack("x" * 4000))
    pair.settle()
    refused = pair.a_got[-1]
    assert isinstance(refused, Error)
    assert refused.errno == Errno.EINVAL


@pytest.mark.parametrize("message", ["x" * 9000, "\N{CUP WITH STRAW}" * 9000, "a\udcff" * 9000])
def test_however_long_an_error_is_it_fits_a_frame(message: str) -> None:
    pair = Pair()
    pair.a.call(7, b"\xc0")
    pair.settle()
    pair.b.error(pair.calls()[0].id, Errno.EIO, message)
    pair.settle()
    assert isinstance(pair.a_got[-1], Error)


def test_an_item_that_no_frame_holds_is_refused_where_it_was_made() -> None:
    pair = Pair()
    call_id = pair.a.call(7, b"\xc0")
    pair.settle()
    with pytest.raises(ValueError, match="an item of 303 bytes"):
        pair.b.items(call_id, [Raw(b"\x01"), Raw(pack("x" * 300))])
    assert pair.b.waiting(call_id) == 0
    pair.a.take(call_id, 5)
    pair.settle()
    pair.b.end(call_id)
    pair.settle()
    assert isinstance(pair.a_got[-1], End)


def test_answers_wait_while_the_other_end_has_no_room_for_them() -> None:
    pair = Pair()
    ids = [pair.a.call(7, b"\xc0") for _ in range(4)]
    pair.settle()
    for call_id in ids:
        pair.b.reply(call_id, pack("x" * 1900))
    assert pair.b.unsent_bytes > 7000
    pair.settle()
    assert [len(bytes(frame.result)) for frame in pair.a_got if isinstance(frame, Reply)] == [1903] * 4
    assert pair.b.unsent_bytes == 0
    big = pack("x" * 1900)
    pair.a.call(7, big)
    pair.a.call(7, big)
    with pytest.raises(BlockingIOError, match="under way"):
        pair.a.call(7, big)
    pair.settle()
    assert len(pair.calls()) == 6


def test_what_is_kept_for_the_other_end_can_be_told() -> None:
    pair = Pair()
    pair.a.call(7, b"\xc0")
    pair.settle()
    pair.b.reply(pair.calls()[0].id, pack("x" * 1500))
    sent, pair.b.outbox = pair.b.outbox, bytearray()
    assert pair.b.unsent_bytes > 1000, "no credit has come for the rest"
    pair.b.outbox = sent
    pair.settle()
    assert pair.b.unsent_bytes == 0


def test_items_wait_for_credit_and_the_end_waits_for_the_items() -> None:
    pair = Pair()
    call_id = pair.a.call(7, b"\xc0", credit=2)
    pair.settle()
    assert pair.b.items(call_id, [Raw(pack(n)) for n in range(5)]) == 3
    pair.b.end(call_id, pack("done"))
    pair.settle()
    assert sum(len(f.items) for f in pair.a_got if isinstance(f, Items)) == 2
    assert not any(isinstance(f, End) for f in pair.a_got)
    pair.a.take(call_id, 3)
    pair.settle()
    got = [msgspec.msgpack.decode(item) for f in pair.a_got if isinstance(f, Items) for item in f.items]
    assert got == [0, 1, 2, 3, 4]
    assert isinstance(pair.a_got[-1], End)


def test_a_cancelled_call_is_answered_once() -> None:
    pair = Pair()
    call_id = pair.a.call(7, b"\xc0", credit=1)
    pair.settle()
    pair.b.items(call_id, [Raw(pack(n)) for n in range(9)])
    pair.a.cancel(call_id, "enough")
    pair.settle()
    assert any(isinstance(f, Cancel) for f in pair.b_got)
    assert pair.b.waiting(call_id) == 0
    pair.b.error(call_id, Errno.ECANCELED, "cancelled")
    pair.b.reply(call_id, b"\xc0")
    pair.settle()
    assert sum(isinstance(f, Error | Reply) for f in pair.a_got) == 1


def test_more_calls_than_the_bound_are_refused_not_fatal() -> None:
    pair = Pair()
    for _ in range(TINY_LIMITS.calls_max):
        pair.a.call(7, b"\xc0")
    with pytest.raises(BlockingIOError):
        pair.a.call(7, b"\xc0")
    pair.settle()
    pair.a.limits = CLIENT_LIMITS
    for _ in range(100):
        pair.a.call(7, b"\xc0")
    pair.a.limits = TINY_LIMITS
    pair.a.outbox += encode(Call(1000, 0, 7, blob=BlobRef(77, 3, b"d" * 16))) + encode(Chunk(77, 0, b"xyz"))
    pair.a._made[1000] = pair.a._made[1]
    pair.settle()
    refused = [f for f in pair.a_got if isinstance(f, Error)]
    assert len(refused) == 101
    assert {f.errno for f in refused} == {Errno.EAGAIN}
    assert pair.b.serving == TINY_LIMITS.calls_max


def test_a_call_that_is_cancelled_before_its_arguments_came_is_never_heard_of() -> None:
    pair = Pair()
    call_id = pair.a.call(7, pack("x" * 1500))
    pair.carry(len(pair.a.outbox), 0)
    pair.a.cancel(call_id, "never mind")
    pair.settle()
    assert not pair.calls()
    assert isinstance(pair.a_got[-1], Error)
    assert pair.b._bulk.arriving_bytes == 0


def bulk(call_id: int, size: int) -> Call:
    """A call whose arguments are announced as a blob."""
    return Call(call_id, 0, 7, blob=BlobRef(call_id, size, b"d" * 16))


LIES: dict[str, list[Frame]] = {
    "a call before HELLO": [Call(1, 0, 7)],
    "HELLO twice": [Hello(), Hello()],
    "an ABI of the future": [Hello(abi=99)],
    "a call id used again": [Hello(), Call(1, 0, 7), Call(1, 0, 7)],
    "a call id of the past": [Hello(), Call(5, 0, 7), Call(4, 0, 7)],
    "an answer to no call": [Hello(), Reply(1)],
    "an error to no call": [Hello(), Error(1, 1, "x")],
    "items of no call": [Hello(), Items(1, [Raw(b"\xc0")])],
    "negative credit in a call": [Hello(), Call(1, 0, 7, credit=-1)],
    "huge credit in a call": [Hello(), Call(1, 0, 7, credit=1 << 40)],
    "negative credit": [Hello(), Call(1, 0, 7), Credit(1, -5)],
    "huge credit": [Hello(), Call(1, 0, 7), Credit(1, 1 << 40)],
    "a chunk of no blob": [Hello(), Chunk(1, 0, b"x")],
    "an endless blob": [Hello(), bulk(1, 1 << 40)],
    "a blob of nothing": [Hello(), bulk(1, 0)],
    "a blob announced twice": [Hello(), bulk(1, 10), Call(2, 0, 7, blob=BlobRef(1, 10, b"d" * 16))],
    "a blob out of order": [Hello(), bulk(1, 10), Chunk(1, 5, b"x")],
    "a blob that outgrows itself": [Hello(), bulk(1, 2), Chunk(1, 0, b"xxx")],
    "a blob that is not its digest": [Hello(), bulk(1, 2), Chunk(1, 0, b"xx")],
    "an empty chunk": [Hello(), bulk(1, 2), Chunk(1, 0, b"")],
    "more blobs than a link may hold": [Hello(), *(bulk(n, 2000) for n in range(1, 4))],
}


@pytest.mark.parametrize("frames", LIES.values(), ids=LIES.keys())
def test_a_liar_loses_its_link_with_a_reason(frames: list[Frame]) -> None:
    peer = Peer(TINY_LIMITS, Hello())
    peer.outbox.clear()
    with pytest.raises(WireError):
        for frame in frames:
            peer.receive(encode(frame))
    assert peer.closed
    assert b"\x92\x0a" in bytes(peer.outbox), "the last word is a BYE that says why"
    assert peer.receive(encode(Call(50, 0, 7))) == [], "nothing is heard after it"


def test_a_server_that_streams_beyond_its_credit_loses_its_link() -> None:
    pair = Pair()
    call_id = pair.a.call(7, b"\xc0", credit=1)
    pair.settle()
    pair.b._served[call_id].credit = 9
    pair.b.items(call_id, [Raw(b"\x01"), Raw(b"\x02")])
    with pytest.raises(WireError, match="more items"):
        pair.settle()


class TwoPeers(RuleBasedStateMachine):
    """Both ends call, answer, stream, cancel, in any order, the bytes cut anywhere: nothing is lost or doubled."""

    calls: Bundle[tuple[str, int]] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.sent: dict[tuple[str, int], deque[int]] = {}
        self.read: dict[tuple[str, int], int] = {}
        self.answered: dict[tuple[str, int], int] = {}

    def end(self, name: str) -> Peer:
        return self.pair.a if name == "a" else self.pair.b

    def other(self, name: str) -> str:
        return "b" if name == "a" else "a"

    @rule(target=calls, name=st.sampled_from("ab"), size=st.sampled_from([1, 40, 700]), credit=st.integers(0, 3))
    def call(self, name: str, size: int, credit: int) -> tuple[str, int]:
        peer = self.end(name)
        if peer.calls_open >= TINY_LIMITS.calls_max:
            return (name, 0)
        before = peer.calls_open
        try:
            key = (name, peer.call(7, pack("x" * size), credit=credit))
        except BlockingIOError:  # too many blobs are under way: nothing was sent
            assert size > 1 and peer.calls_open == before
            return (name, 0)
        self.sent[key] = deque()
        self.answered[key] = 0
        return key

    @rule(key=calls, count=st.integers(1, 4))
    def stream(self, key: tuple[str, int], count: int) -> None:
        server = self.end(self.other(key[0]))
        if server.is_serving(key[1]) and not server._served[key[1]].cancelled and not server._served[key[1]].last:
            server.items(key[1], [Raw(pack(n)) for n in range(count)])

    @rule(key=calls, size=st.sampled_from([1, 700]))
    def answer(self, key: tuple[str, int], size: int) -> None:
        self.end(self.other(key[0])).end(key[1], pack("y" * size))

    @rule(key=calls, n=st.integers(1, 5))
    def take(self, key: tuple[str, int], n: int) -> None:
        self.end(key[0]).take(key[1], n)

    @rule(key=consumes(calls))
    def cancel(self, key: tuple[str, int]) -> None:
        self.end(key[0]).cancel(key[1], "why not")

    @rule(a=st.integers(0, 300), b=st.integers(0, 300))
    def carry(self, a: int, b: int) -> None:
        self.pair.carry(a, b)

    @invariant()
    def bounded_and_alive(self) -> None:
        for peer in (self.pair.a, self.pair.b):
            assert peer.closed is None
            assert peer.calls_open <= TINY_LIMITS.calls_max
            assert peer._bulk.arriving_bytes <= TINY_LIMITS.blob_total_bytes_max
            assert len(peer._frames) <= TINY_LIMITS.frame_bytes_max + 4

    @invariant()
    def answered_at_most_once(self) -> None:
        for name, got in (("a", self.pair.a_got), ("b", self.pair.b_got)):
            ids = [f.id for f in got if isinstance(f, End | Error | Reply)]
            assert len(ids) == len(set(ids)), name

    def teardown(self) -> None:
        for name in "ab":
            for served in tuple(self.end(name)._served):
                self.end(name).error(served, 5, "end of test")
        for _ in range(200):
            for name in "ab":
                for made in tuple(self.end(name)._made):
                    self.end(name).take(made, 5)
            self.pair.settle()
            for name in "ab":
                for served in tuple(self.end(name)._served):
                    self.end(name).error(served, 5, "end of test")
        assert self.pair.a.calls_open == self.pair.b.calls_open == 0


TwoPeers.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTwoPeers = TwoPeers.TestCase


def test_bye_is_the_last_word() -> None:
    pair = Pair(CLIENT_LIMITS)
    pair.a.bye("good night")
    pair.settle()
    assert isinstance(pair.b_got[-1], Bye)
    assert pair.b.closed == "good night"
    with pytest.raises(WireError, match="good night"):
        pair.b.call(7, b"\xc0")

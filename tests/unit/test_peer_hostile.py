"""The peer against anything: every frame in any order from an end that knows no rules, cut at every byte, either role.

What may happen: frames are acted on, or the link ends with a reason. What may not: another exception, a call answered
twice, memory beyond the limits, or a word after BYE.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import Raw

from syscalls.blobs import digest_of
from syscalls.errors import Errno
from syscalls.limits import TINY_LIMITS
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
    Event,
    Frame,
    FrameBuffer,
    Hello,
    Items,
    Reply,
    WireError,
    decode,
    encode,
)

few = st.integers(-1, 6)
"""Ids and transfers out of few, so that frames meet each other's calls."""
numbers = few | st.sampled_from([2**31, 2**63 - 1, -(2**63), 2**64 - 1])
small = st.sampled_from([Raw(b"\xc0"), Raw(b"\x01"), Raw(b"\x91\x91\x01"), Raw(b"\xa3abc")])
DATA = b"d" * 40
sizes = st.sampled_from([0, 1, 40, 2048, 2049, 1 << 40, -1])
digests = st.sampled_from([digest_of(DATA), digest_of(DATA[:1]), b"", b"x" * 16])
refs = st.none() | st.builds(BlobRef, few, sizes, digests)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, abi=st.sampled_from([1, 1, 1, 2])),
    st.builds(Call, numbers, few, few, small, numbers, st.just(b""), refs),
    st.builds(Reply, numbers, small, refs),
    st.builds(Error, numbers, numbers, st.text(max_size=5)),
    st.builds(Items, numbers, st.lists(small, max_size=3)),
    st.builds(End, numbers, small, refs),
    st.builds(Credit, numbers, numbers | st.just(40), st.booleans()),
    st.builds(Cancel, numbers, st.text(max_size=5)),
    st.builds(Event, few, st.just("USR1")),
    st.builds(Chunk, few, st.sampled_from([0, 1, 20]), st.sampled_from([b"", DATA[:1], DATA[:20], DATA])),
    st.builds(Bye, st.just("")),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Bytes of a stream that mostly begins well, and sometimes is broken somewhere."""
    sent = [Hello(), *draw(st.lists(frames, max_size=8))]
    data = bytearray(b"".join(encode(frame) for frame in sent))
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(data) - 1))
        data[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


class Hostile(RuleBasedStateMachine):
    """Our end calls, serves and answers as an owner does; the other sends whatever it likes."""

    @initialize(hello=st.booleans())
    def begin(self, hello: bool) -> None:
        self.peer = Peer(TINY_LIMITS, Hello())
        self.calls: list[Call] = []
        self.answered: list[int] = []
        self.over = False
        self.sent = bytearray()
        if hello:
            self.take(encode(Hello()))

    def take(self, data: bytes) -> None:
        try:
            heard = self.peer.receive(data)
        except WireError as breach:
            assert str(breach)
            assert self.peer.closed is not None
            self.over = True
            return
        if self.over:
            assert heard == [], "nothing is heard after the end"
        self.over = self.peer.closed is not None
        for frame in heard:
            if isinstance(frame, Call):
                self.calls.append(frame)
            elif isinstance(frame, Reply | End | Error):
                self.answered.append(frame.id)

    @rule(sent=st.lists(frames, min_size=1, max_size=3), cut=st.integers(0, 200))
    def hear(self, sent: list[Frame], cut: int) -> None:
        data = b"".join(encode(frame) for frame in sent)
        self.take(data[:cut])
        self.take(data[cut:])

    @rule(garbage=st.binary(max_size=40))
    def hear_noise(self, garbage: bytes) -> None:
        self.take(garbage)

    @rule(size=st.sampled_from([1, 300]), credit=st.integers(0, 3))
    def call(self, size: int, credit: int) -> None:
        try:
            self.peer.call(7, msgspec.msgpack.encode("x" * size), credit=credit)
        except (WireError, BlockingIOError):
            pass

    @rule(index=st.integers(0, 5), size=st.sampled_from([1, 300]))
    def reply(self, index: int, size: int) -> None:
        if index < len(self.calls):
            self.peer.reply(self.calls[index].id, msgspec.msgpack.encode("y" * size))

    @rule(index=st.integers(0, 5), count=st.integers(1, 3))
    def stream(self, index: int, count: int) -> None:
        if index < len(self.calls):
            self.peer.items(self.calls[index].id, [Raw(b"\x01")] * count)

    @rule(index=st.integers(0, 5))
    def refuse(self, index: int) -> None:
        if index < len(self.calls):
            self.peer.error(self.calls[index].id, Errno.EIO, "no")

    @rule(call_id=st.integers(1, 5))
    def give_up(self, call_id: int) -> None:
        self.peer.cancel(call_id, "why not")

    @rule(call_id=st.integers(1, 5), n=st.integers(0, 3))
    def credit(self, call_id: int, n: int) -> None:
        self.peer.take(call_id, n)

    @rule()
    def send(self) -> None:
        self.sent += self.peer.outbox
        self.peer.outbox.clear()

    @invariant()
    def bounded(self) -> None:
        if not hasattr(self, "peer"):
            return
        limits = TINY_LIMITS
        assert self.peer.calls_open <= limits.calls_max
        assert self.peer.serving <= limits.calls_max
        assert self.peer._bulk.arriving_bytes <= limits.blob_total_bytes_max
        assert len(self.peer._frames) <= limits.frame_bytes_max + 4
        assert len(self.answered) == len(set(self.answered)), "a call is answered once"

    def teardown(self) -> None:
        if not hasattr(self, "peer"):
            return
        self.send()
        said = [decode(body) for body in FrameBuffer(TINY_LIMITS.frame_bytes_max).feed(bytes(self.sent))]
        byes = [at for at, frame in enumerate(said) if isinstance(frame, Bye)]
        assert byes in ([], [len(said) - 1]), "BYE is the last word, and said once"
        outcomes = [frame.id for frame in said if isinstance(frame, Reply | End | Error)]
        assert len(outcomes) == len(set(outcomes)), "each call is answered at most once"


Hostile.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestHostile = Hostile.TestCase


def outcome(chunks: list[bytes], calls: int) -> tuple[list[bytes], str | None, bytes]:
    """What a peer that has made some calls makes of bytes that come in pieces."""
    peer = Peer(TINY_LIMITS, Hello())
    for _ in range(calls):
        peer.call(7, b"\xc0", credit=2)
    heard: list[Frame] = []
    for chunk in chunks:
        try:
            heard += peer.receive(chunk)
        except WireError:
            break
    return [encode(frame) for frame in heard], peer.closed, bytes(peer.outbox)


@given(streams(), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_where_the_bytes_are_cut_makes_no_difference(stream: bytes, calls: int) -> None:
    """Byte by byte, the peer ends as it does with all of it at once; what it has heard by then is the same, but that
    frames before a breach in the same piece are lost with the link."""
    whole, closed, said = outcome([stream], calls)
    bytewise, closed_too, said_too = outcome([stream[at : at + 1] for at in range(len(stream))], calls)
    assert closed == closed_too
    assert bytewise[: len(whole)] == whole
    assert said == said_too


@given(streams(), st.integers(0, 3), st.data())
@settings(max_examples=150, deadline=None)
def test_a_stream_that_breaks_off_anywhere_is_no_error(stream: bytes, calls: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(stream)))
    heard, _, _ = outcome([stream[:cut]], calls)
    more, _, _ = outcome([stream], calls)
    assert len(heard) <= len(more) or not more


BOMBS: dict[str, bytes] = {
    "arrays in arrays": b"\x91" * 250,
    "maps in maps": b"\x81\xa1a" * 80,
    "four billion elements": b"\xdd\xff\xff\xff\xff",
    "four billion bytes": b"\xc6\xff\xff\xff\xff",
    "a call with a bomb for its id": b"\x93\x01" + b"\x91" * 200,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_no_frame(bomb: bytes) -> None:
    peer = Peer(TINY_LIMITS, Hello())
    peer.receive(encode(Hello()))
    with pytest.raises(WireError, match="no frame"):
        peer.receive(len(bomb).to_bytes(4, "big") + bomb)


def test_a_length_is_refused_before_a_byte_of_it_is_kept() -> None:
    peer = Peer(TINY_LIMITS, Hello())
    with pytest.raises(WireError, match="at most 256"):
        peer.receive(b"\xff\xff\xff\xff" + b"x" * 100_000)
    kept = len(peer._frames)
    assert peer.receive(b"x" * 100_000) == []
    assert len(peer._frames) == kept, "a closed peer keeps nothing more"


def test_an_end_with_two_roles_keeps_them_apart() -> None:
    """Calls made and calls served have ids of their own: the same number means two calls."""
    peer = Peer(TINY_LIMITS, Hello())
    mine = peer.call(7, b"\xc0")
    heard: list[Any] = peer.receive(encode(Hello()) + encode(Call(mine, 0, 9)) + encode(Cancel(mine)))
    assert [type(frame) for frame in heard] == [Hello, Call, Cancel]
    peer.error(mine, Errno.ECANCELED, "as asked")
    (answer,) = peer.receive(encode(Reply(mine, Raw(b"\x05"))))
    assert isinstance(answer, Reply)
    assert peer.calls_open == peer.serving == 0

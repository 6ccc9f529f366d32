"""Frames: what goes in comes out, whatever the cuts; what is no frame is refused without harm."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from syscalls.wire import (
    NIL,
    Bye,
    Call,
    Cancel,
    Chunk,
    Credit,
    End,
    Error,
    Event,
    FrameBuffer,
    Hello,
    Items,
    Reply,
    WireError,
    decode,
    encode,
)

raws = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=8), lambda inner: st.lists(inner)
).map(lambda value: Raw(msgspec.msgpack.encode(value)))
ids = st.integers(0, 2**31)
frames = st.one_of(
    st.builds(Hello, abi=ids, features=st.tuples(st.text(max_size=5)), credential=st.binary(max_size=9)),
    st.builds(Call, ids, ids, ids | st.text(max_size=9), raws, ids, st.binary(max_size=9)),
    st.builds(Reply, ids, raws),
    st.builds(Error, ids, ids, st.text(max_size=20)),
    st.builds(Items, ids, st.lists(raws, max_size=4)),
    st.builds(End, ids, raws),
    st.builds(Credit, ids, ids, st.booleans()),
    st.builds(Cancel, ids, st.text(max_size=9)),
    st.builds(Event, ids, st.text(max_size=9), raws),
    st.builds(Chunk, ids, ids, st.binary(max_size=30)),
    st.builds(Bye, st.text(max_size=9)),
)


@given(st.lists(frames, max_size=6), st.data())
def test_frames_survive_any_cut(sent: list[Call], data: st.DataObject) -> None:
    stream = b"".join(encode(frame) for frame in sent)
    buffer = FrameBuffer(1 << 16)
    got = []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        got += [decode(body) for body in buffer.feed(stream[:cut])]
        stream = stream[cut:]
    assert [encode(frame) for frame in got] == [encode(frame) for frame in sent]
    assert len(buffer) == 0


@given(st.binary(max_size=200))
def test_noise_is_a_wire_error_and_nothing_else(noise: bytes) -> None:
    try:
        decode(noise)
    except WireError:
        pass


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x94\x01\x01\x00\xd9\x02\xff\xfe",
    ],
    ids=["nesting", "4 GiB array", "4 GiB bytes", "not UTF-8"],
)
def test_bombs_are_refused(bomb: bytes) -> None:
    with pytest.raises(WireError):
        decode(bomb)


def test_a_length_beyond_the_bound_is_refused_before_its_body_comes() -> None:
    buffer = FrameBuffer(1000)
    with pytest.raises(WireError, match="at most 1000"):
        list(buffer.feed((1001).to_bytes(4, "big")))


def test_nil_is_nil() -> None:
    assert msgspec.msgpack.decode(NIL) is None

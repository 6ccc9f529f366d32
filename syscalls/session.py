"""A session without IO: the frames of a link that outlives its connections, each delivered once and in order.

Either end numbers the frames it sends by counting them, keeps what the other end has not acknowledged, and says in the
HELLO of each connection how many it has received; what is missing is said again. So the peer above never learns that a
connection broke: a call is executed once because its frame is delivered once, a stream goes on after the last item
that arrived, and credit, cancellations and blobs keep their order too. (Keys per call and positions per stream would
do the same for calls and streams only, and would have to be told apart from what a kernel still remembers; TCP, ssh's
resumption proposals and MQTT sessions count as is done here.)

HELLO belongs to a connection and is not counted; neither is ACK, which only sessions know. All else is. A frame that a
cut left incomplete is dropped with its connection and comes again.
"""

from collections import deque
from typing import final

import msgspec
from msgspec import Struct

from syscalls.errors import BrokenPipe
from syscalls.limits import ABI_VERSION, KIB, MIB
from syscalls.wire import HEADER_BYTES, Hello, WireError, unlike

FEATURE = "session"
"""In the features of a HELLO: this end can keep a session."""
ID_BYTES = 16
KEPT_BYTES_MAX = 4 * MIB
"""While so much is not acknowledged, nothing more is sent; kept for a client that is away, it is all there is."""
LEASE_S = 60.0
"""How long a kernel keeps a session for a client that is away, where it says nothing else."""
PAUSE_S_MIN, PAUSE_S_MAX = 0.05, 2.0
"""Between two attempts to connect again: doubled each time."""
_ACK_FRAMES = 32
_ACK_BYTES = 64 * KIB
_HELLO_TAG, _BYE_TAG, _ACK_TAG = 0, 10, 11


@final
class Ack(Struct, frozen=True, array_like=True, tag=_ACK_TAG):
    """The sender has received `n` frames of this session."""

    n: int


_ENCODER = msgspec.msgpack.Encoder()
_ACKS: msgspec.msgpack.Decoder[Ack] = msgspec.msgpack.Decoder(Ack)


@final
class SessionEnd:
    """One end of a session. `outbox` is what is to be written on the connection of now; the owner takes it. `parted`
    once the other end has said BYE."""

    def __init__(self, frame_bytes_max: int) -> None:
        self.outbox = bytearray()
        self.sent = 0
        self.received = 0
        self.kept_bytes = 0
        self._frame_bytes_max = frame_bytes_max
        self._kept: deque[bytes] = deque()
        self.parted = False
        self._connected = False
        self._buffer = bytearray()
        self._told = 0
        self._untold_bytes = 0

    @property
    def connected(self) -> bool:
        return self._connected

    def put(self, frames: bytes) -> None:
        """Sends whole frames of the peer above, now or on the next connection. Its HELLO is passed over: each
        connection has its own."""
        at = 0
        while at < len(frames):
            size = HEADER_BYTES + int.from_bytes(frames[at : at + HEADER_BYTES], "big")
            frame = frames[at : at + size]
            at += size
            if _tag(frame) == _HELLO_TAG:
                continue
            self.sent += 1
            self._kept.append(frame)
            self.kept_bytes += len(frame)
            if self._connected:
                self.outbox += frame

    def lose(self) -> None:
        """The connection is gone, with what was on its way."""
        self._connected = False
        self.outbox.clear()
        self._buffer.clear()

    def let_go(self) -> None:
        """The session is over: nothing of it is said again."""
        self.lose()
        self._kept.clear()
        self.kept_bytes = 0

    def admits(self, received: int) -> bool:
        """Whether the other end can have received so many."""
        return self.sent - len(self._kept) <= received <= self.sent

    def resume(self, received: int) -> None:
        """A new connection, on which the other end said that it has `received` frames. Raises WireError for a number
        that cannot be."""
        self.lose()
        if not self.admits(received):
            raise WireError(f"{received} frames received, of {self.sent} sent: this is not the same session")
        self._forget(received)
        self._connected = True
        self.outbox += b"".join(self._kept)

    def feed(self, data: bytes) -> bytes:
        """The frames in `data` that the peer above has not seen, as it takes them. Raises WireError for an
        acknowledgement of what was never sent."""
        self._buffer += data
        fresh = bytearray()
        at = 0
        while len(self._buffer) - at >= HEADER_BYTES:
            size = int.from_bytes(self._buffer[at : at + HEADER_BYTES], "big")
            if size > self._frame_bytes_max:  # the peer above knows what to say of it
                fresh += self._buffer[at : at + HEADER_BYTES]
                at = len(self._buffer)
                break
            if len(self._buffer) - at - HEADER_BYTES < size:
                break
            frame = self._buffer[at : at + HEADER_BYTES + size]
            at += HEADER_BYTES + size
            if _tag(frame) == _ACK_TAG:
                self._acknowledged(bytes(frame[HEADER_BYTES:]))
            else:
                self.parted = self.parted or _tag(frame) == _BYE_TAG
                self.received += 1
                self._untold_bytes += len(frame)
                fresh += frame
        del self._buffer[:at]
        self._acknowledge()
        return bytes(fresh)

    def _acknowledge(self) -> None:
        """Says how many have come, now and then: often enough that the other end never runs full."""
        if self.received - self._told < _ACK_FRAMES and self._untold_bytes < _ACK_BYTES:
            return
        body = _ENCODER.encode(Ack(self.received))
        self.outbox += len(body).to_bytes(HEADER_BYTES, "big") + body
        self._told, self._untold_bytes = self.received, 0

    def _acknowledged(self, body: bytes) -> None:
        try:
            received = _ACKS.decode(body).n
        except msgspec.MsgspecError as bad:
            raise WireError(f"that is no ACK: {bad}") from None
        if not self.admits(received):
            raise WireError(f"{received} frames acknowledged, of {self.sent} sent")
        self._forget(received)

    def _forget(self, received: int) -> None:
        for _ in range(received - (self.sent - len(self._kept))):
            self.kept_bytes -= len(self._kept.popleft())


def _tag(frame: bytes | bytearray) -> int:
    """The kind of a frame: the first element of its array, which is a small number in every frame there is."""
    return frame[HEADER_BYTES + 1] if len(frame) > HEADER_BYTES + 1 else -1


def greeting(hello: Hello, session: bytes, received: int) -> Hello:
    """`hello` for one connection of a session."""
    features = tuple(sorted({*hello.features, FEATURE}))
    return msgspec.structs.replace(hello, features=features, session=session, received=received)


def lease_of(hello: Hello, whose: str) -> float:
    """For how many seconds the kernel that said `hello` keeps the session. Raises BrokenPipe (EPIPE) for a kernel of
    another ABI, or one that keeps none."""
    if hello.abi != ABI_VERSION:
        raise BrokenPipe(unlike(hello.abi))
    if FEATURE not in hello.features or not hello.session:
        raise BrokenPipe(f"{whose} keeps no sessions: its kernos is older than this one; upgrade it there")
    try:
        return float(hello.info.get("lease_s", LEASE_S))
    except ValueError:
        return LEASE_S

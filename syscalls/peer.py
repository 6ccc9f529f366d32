"""The protocol without IO: bytes in, frames out; either end may call and either may serve.

One `Peer` is one end of one link. `receive` takes what the socket gave and returns the frames that the owner must act
on, already checked against what this link has said so far; the methods put frames into `outbox`, which the owner
sends. Nothing here waits, reads a clock or knows a system call: that makes it testable by the million and the same
under a blocking socket, anyio and trio (the shape is that of h11 and of httpcore's state machines).

Blobs are invisible above: arguments or a result that do not fit a frame go out as chunks after the frame that names
them, and come in as if they had fitted (`syscalls.bulk`).
"""

from collections.abc import Callable
from typing import Any, final

from msgspec import Raw

from syscalls.bulk import Bulk
from syscalls.errors import Errno
from syscalls.flow import ENVELOPE_BYTES, Served, cut
from syscalls.limits import ABI_VERSION, PeerLimits
from syscalls.wire import (
    LENGTH,
    NO_FRAME,
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
    decode_body,
    encode_body,
    no_frame,
    unlike,
)


@final
class Peer:
    """One end of a link. Not thread-safe: one owner."""

    def __init__(self, limits: PeerLimits, hello: Hello) -> None:
        self.limits = limits
        self.outbox = bytearray()
        self.remote: Hello | None = None
        self.closed: str | None = None
        self._frames = FrameBuffer(limits.frame_bytes_max)
        self._bulk = Bulk(limits, self._put)
        self._made: dict[int, int] = {}
        """The credit of each call that this end made and that is not answered yet."""
        self._served: dict[int, Served] = {}
        self._next_call = 1
        self._newest_served = 0
        self._frame_max = limits.frame_bytes_max
        self._payload_max = limits.frame_bytes_max - ENVELOPE_BYTES
        self._put(hello)

    # Calling.

    def call(self, number: int | str, args: bytes, *, channel: int = 0, credit: int = 0, key: bytes = b"") -> int:
        """Asks; returns the id of the call. Raises WireError once the link has ended, BlockingIOError when too many
        are open."""
        if self.closed is not None:
            raise WireError(self.closed)
        if len(self._made) >= self.limits.calls_max:
            raise BlockingIOError(f"{self.limits.calls_max} calls are open on this link: wait for one to end")
        call_id = self._next_call
        self._next_call = call_id + 1
        frame = Call(call_id, channel, number, Raw(args), credit, key)
        if len(args) <= self._payload_max:
            self._put(frame)
        else:
            self._bulk.send(frame, args)
        self._made[call_id] = credit
        return call_id

    def cancel(self, call_id: int, reason: str = "") -> None:
        """Says that nobody waits for `call_id` any more; its answer still comes, once."""
        if call_id in self._made and self.closed is None:
            self._put(Cancel(call_id, cut(reason, 200)))

    def take(self, call_id: int, n: int) -> None:
        """Gives back credit for `n` items of a stream: to be said when they are consumed, not when they arrive."""
        credit = self._made.get(call_id)
        if credit is not None and n > 0 and self.closed is None:
            self._made[call_id] = credit + n
            self._put(Credit(call_id, n))

    # Serving.

    def reply(self, call_id: int, result: bytes) -> None:
        """Answers a call that does not stream."""
        if self._served.pop(call_id, None) is not None and self.closed is None:
            if len(result) <= self._payload_max:
                self._put(Reply(call_id, Raw(result)))
            else:
                self._bulk.send(Reply(call_id, Raw(result)), result)

    def items(self, call_id: int, items: list[Raw]) -> int:
        """Streams; what credit does not allow waits. Returns how many now wait, so that the server can bound them.

        Raises ValueError for an item that no frame of this link holds; none of `items` is sent then."""
        served = self._served.get(call_id)
        if served is None or served.cancelled or self.closed is not None:
            return 0
        longest = max((len(bytes(item)) for item in items), default=0)
        if longest > self._payload_max:
            raise ValueError(f"an item of {longest} bytes; this link takes at most {self._payload_max} in one")
        served.add(items)
        self._drain(call_id, served)
        return served.waiting

    def end(self, call_id: int, result: bytes = b"\xc0") -> None:
        """Ends a stream well, after the items that wait."""
        self._finish(call_id, End(call_id, Raw(result)))

    def error(self, call_id: int, errno: int, message: str) -> None:
        """Refuses a call or ends a stream badly, after the items that wait."""
        self._finish(call_id, Error(call_id, int(errno), cut(message, self.limits.frame_bytes_max // 4)))

    def waiting(self, call_id: int) -> int:
        """How many items of the stream wait for credit."""
        served = self._served.get(call_id)
        return served.waiting if served else 0

    def event(self, channel: int, kind: str, data: bytes = b"\xc0") -> None:
        """Tells the process on `channel` something, without an answer."""
        if self.closed is not None:
            raise WireError(self.closed)
        self._put(Event(channel, kind, Raw(data)))

    def bye(self, reason: str = "") -> None:
        """Says farewell; afterwards this end is silent."""
        if self.closed is None:
            self._put(Bye(cut(reason, 200)))
            self.closed = reason or "closed here"

    def let_go(self) -> None:
        """The link has ended: what waits to be sent, and what has come in part, is kept for nobody. A link lies in a
        circle of references, and in a kernel garbage is sought seldom."""
        assert self.closed is not None, "a link that goes on needs what it has"
        self.outbox = bytearray()
        self._frames = FrameBuffer(self._frame_max)
        self._bulk = Bulk(self.limits, self._put)
        self._made.clear()
        self._served.clear()

    # Receiving.

    def receive(self, data: bytes) -> list[Frame]:
        """The frames in `data` that the owner must act on.

        Raises WireError if the other end broke the protocol; a BYE with the reason is then in the outbox and the peer
        is closed. What was valid before the breach is lost with the link, as if the peer had died a moment earlier.
        A closed peer hears and keeps nothing.
        """
        if self.closed is not None:
            return []
        seen: list[Frame] = []
        try:
            for body in self._frames.feed(data):
                if self.closed is not None:
                    break
                frame = decode_body(body)
                if self.remote is None and not isinstance(frame, Hello | Bye):
                    raise WireError(f"{type(frame).__name__.upper()} before HELLO")
                told = _ABSORB[type(frame)](self, frame)
                if told is not None:
                    seen.append(told)
        except WireError as breach:
            self.bye(str(breach))
            raise
        except NO_FRAME as bad:
            wrong = no_frame(bad)
            self.bye(str(wrong))
            raise wrong from None
        return seen

    def is_serving(self, call_id: int) -> bool:
        """Whether a call of the other end is still to be answered."""
        return call_id in self._served

    @property
    def unsent_bytes(self) -> int:
        """What is kept for the other end: frames that are not written yet and blobs that it has no room for."""
        return len(self.outbox) + (self._bulk.held_bytes if self._bulk.used else 0)

    @property
    def calls_open(self) -> int:
        return len(self._made)

    @property
    def serving(self) -> int:
        return len(self._served)

    def _greeted(self, frame: Hello) -> Hello:
        if self.remote is not None:
            raise WireError("HELLO twice")
        if frame.abi != ABI_VERSION:
            raise WireError(unlike(frame.abi))
        self.remote = frame
        return frame

    def _called(self, frame: Call) -> Call | None:
        if frame.id <= self._newest_served:
            raise WireError(f"call id {frame.id} was used before")
        if not 0 <= frame.credit <= self.limits.credit_max:
            raise WireError(f"a credit of {frame.credit}; this link takes 0 to {self.limits.credit_max}")
        self._newest_served = frame.id
        full = len(self._served) >= self.limits.calls_max
        if frame.blob is not None:
            self._bulk.expect(frame, keep=not full)
        if full:
            refusal = f"{self.limits.calls_max} calls are open on this link: wait for one to end"
            self._put(Error(frame.id, Errno.EAGAIN, refusal))
            return None
        self._served[frame.id] = Served(frame.credit)
        return frame if frame.blob is None else None

    def _answered(self, frame: Reply | End | Error) -> Frame | None:
        if self._made.pop(frame.id, None) is None:
            raise WireError(f"an answer to call {frame.id}, which was never made")
        if isinstance(frame, Error) or frame.blob is None:
            return frame
        self._bulk.expect(frame)
        return None

    def _pieced(self, chunk: Chunk) -> Frame | None:
        return self._bulk.pieced(chunk)

    def _streamed(self, frame: Items) -> Items:
        credit = self._made.get(frame.id)
        if credit is None:
            raise WireError(f"items of call {frame.id}, which was never made")
        self._made[frame.id] = credit = credit - len(frame.items)
        if credit < 0:
            raise WireError(f"more items of call {frame.id} than it had credit for")
        return frame

    def _credited(self, frame: Credit) -> Credit | None:
        if frame.n <= 0 or (frame.n > self.limits.credit_max and not frame.blob):
            raise WireError(f"a credit of {frame.n}")
        if frame.blob:
            self._bulk.granted(frame)
            return None
        served = self._served.get(frame.id)
        if served is not None:
            served.credit = min(served.credit + frame.n, self.limits.credit_max)
            self._drain(frame.id, served)
        return frame

    def _cancelled(self, frame: Cancel) -> Cancel | None:
        served = self._served.get(frame.id)
        if served is None or served.cancelled:
            return None
        served.cancelled = True
        served.forget()
        if self._bulk.forgo(frame.id):  # the owner never heard of it
            self.error(frame.id, Errno.ECANCELED, "cancelled before its arguments had come")
            return None
        if served.last is not None:
            self._drain(frame.id, served)
            return None
        return frame

    def _told(self, frame: Event) -> Event:
        return frame

    def _left(self, frame: Bye) -> Bye:
        self.closed = frame.reason or "the other end said BYE"
        return frame

    # Sending.

    def _finish(self, call_id: int, last: End | Error) -> None:
        served = self._served.get(call_id)
        if served is None or served.last is not None or self.closed is not None:
            return
        served.last = last
        self._drain(call_id, served)

    def _drain(self, call_id: int, served: Served) -> None:
        while served.backlog and served.credit > 0:
            self._put(Items(call_id, served.batch(self.limits.frame_bytes_max - ENVELOPE_BYTES // 4)))
        if not served.backlog and served.last is not None:
            del self._served[call_id]
            if isinstance(served.last, End):
                self._put_end(served.last, bytes(served.last.result))
            else:
                self._put(served.last)

    def _put_end(self, frame: End, result: bytes) -> None:
        if len(result) <= self._payload_max:
            self._put(frame)
        else:
            self._bulk.send(frame, result)

    def _put(self, frame: Frame) -> None:
        body = encode_body(frame)
        size = len(body)
        assert size <= self._frame_max, f"our own {type(frame).__name__} is too long"
        self.outbox += LENGTH.pack(size) + body


_ABSORB: dict[type[Frame], Callable[[Peer, Any], Frame | None]] = {
    Hello: Peer._greeted,
    Call: Peer._called,
    Reply: Peer._answered,
    Error: Peer._answered,
    End: Peer._answered,
    Items: Peer._streamed,
    Credit: Peer._credited,
    Cancel: Peer._cancelled,
    Event: Peer._told,
    Chunk: Peer._pieced,
    Bye: Peer._left,
}
"""What each kind of frame does to the link, and what the owner is told of it."""

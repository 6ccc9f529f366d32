"""The frames on the wire: four bytes of length, then one msgpack array whose first element is the kind of frame."""

import struct
from collections.abc import Iterator
from typing import final

import msgspec
from msgspec import Raw, Struct

from syscalls.limits import ABI_VERSION

HEADER_BYTES = 4
LENGTH = struct.Struct(">I")
NIL = Raw(b"\xc0")


class WireError(Exception):
    """The other end broke the protocol; the link ends with this sentence as its reason."""


@final
class BlobRef(Struct, frozen=True, array_like=True):
    """Stands for arguments or a result that did not fit a frame; the chunks of `transfer` follow."""

    transfer: int
    size: int
    digest: bytes


@final
class Hello(Struct, frozen=True, array_like=True, tag=0):
    """The first frame of both ends: ABI version, features, who is calling, and free facts for people.

    `session` and `received` are of a session that outlives its connections: see `syscalls/session.py`."""

    abi: int = ABI_VERSION
    features: tuple[str, ...] = ()
    credential: bytes = b""
    session: bytes = b""
    info: dict[str, str] = {}
    received: int = 0


@final
class Call(Struct, frozen=True, array_like=True, tag=1):
    """Asks for row `number` (or a plugin's call by name); `args` stays raw until the right is checked."""

    id: int
    channel: int
    number: int | str
    args: Raw = NIL
    credit: int = 0
    key: bytes = b""
    blob: BlobRef | None = None


@final
class Reply(Struct, frozen=True, array_like=True, tag=2):
    """The result of call `id`, which did not stream."""

    id: int
    result: Raw = NIL
    blob: BlobRef | None = None


@final
class Error(Struct, frozen=True, array_like=True, tag=3):
    """Call `id` was refused or failed; ends a stream too."""

    id: int
    errno: int
    message: str


@final
class Items(Struct, frozen=True, array_like=True, tag=4):
    """Some items of the stream `id`, in order; each costs one credit."""

    id: int
    items: list[Raw]


@final
class End(Struct, frozen=True, array_like=True, tag=5):
    """The stream `id` has ended well, with its result."""

    id: int
    result: Raw = NIL
    blob: BlobRef | None = None


@final
class Credit(Struct, frozen=True, array_like=True, tag=6):
    """The caller took `n` more items of its stream `id`; with `blob`, `n` more bytes of transfer `id` may come."""

    id: int
    n: int
    blob: bool = False


@final
class Cancel(Struct, frozen=True, array_like=True, tag=7):
    """The caller of `id` has lost interest; the callee still answers, once."""

    id: int
    reason: str = ""


@final
class Event(Struct, frozen=True, array_like=True, tag=8):
    """Told, not asked: a signal to the process on `channel`."""

    channel: int
    kind: str
    data: Raw = NIL


@final
class Chunk(Struct, frozen=True, array_like=True, tag=9):
    """A piece of a blob that a frame before it named."""

    transfer: int
    offset: int
    data: bytes


@final
class Bye(Struct, frozen=True, array_like=True, tag=10):
    """The sender will say nothing more; the reason is for people."""

    reason: str = ""


RESULTS = (Reply, End)
ANSWERS = (Reply, End, Error)
"""What ends a call. For isinstance: a union that is made anew at each frame takes five times as long."""
Frame = Hello | Call | Reply | Error | Items | End | Credit | Cancel | Event | Chunk | Bye

encode_body = msgspec.msgpack.Encoder().encode
"""A frame without its length."""
_DECODER: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
decode_body = _DECODER.decode
NO_FRAME = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, OverflowError)
"""What `decode_body` raises for what is no frame, however deep or wrong."""


def encode(frame: Frame) -> bytes:
    """`frame` with its length before it. The caller checks the bound: see `Peer`."""
    body = encode_body(frame)
    return LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Frame:
    """One frame without its length. Raises WireError for whatever is not a frame, however deep or wrong."""
    try:
        return decode_body(body)
    except NO_FRAME as bad:
        raise no_frame(bad) from None


def no_frame(why: Exception) -> WireError:
    """The breach, of what `decode_body` raised."""
    return WireError(f"that is no frame of ABI {ABI_VERSION}: {why}")


def unlike(abi: int) -> str:
    """Why two ends do not understand each other, in words that are true at either."""
    low, high = sorted((abi, ABI_VERSION))
    return (
        f"one end speaks ABI {low}, the other ABI {high}: upgrade kernos at the end with ABI {low}, "
        f"or use a kernos with ABI {low} at the other"
    )


@final
class FrameBuffer:
    """Cuts a byte stream into frame bodies. Holds at most one frame that is not whole yet."""

    def __init__(self, frame_bytes_max: int) -> None:
        self._max = frame_bytes_max
        self._rest = bytearray()
        self._wanted = HEADER_BYTES

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yields each frame body that is whole now. Raises WireError on a length above the bound, before buffering
        it."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data = bytes(self._rest)
            self._rest.clear()
        start, end = 0, len(data)
        try:
            while end - start >= HEADER_BYTES:
                (size,) = LENGTH.unpack_from(data, start)
                if size > self._max:
                    raise WireError(f"a frame of {size} bytes; this link takes at most {self._max}: send a blob")
                after = start + HEADER_BYTES + size
                if after > end:
                    break
                body = data[start + HEADER_BYTES : after]
                start = after
                yield body
        finally:
            self._keep(data, start)

    def _keep(self, data: bytes, start: int) -> None:
        """What is left over from `start`, and how much there must be before it is worth looking again."""
        if start < len(data):
            self._rest += data[start:]
            whole = len(self._rest) >= HEADER_BYTES
            self._wanted = HEADER_BYTES + (LENGTH.unpack_from(self._rest)[0] if whole else 0)

    def __len__(self) -> int:
        return len(self._rest)

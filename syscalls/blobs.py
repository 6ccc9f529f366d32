"""What does not fit a frame: outgoing blobs cut into chunks under credit, incoming ones put together and checked."""

import hashlib
from collections.abc import Iterator
from typing import final

from syscalls.limits import PeerLimits
from syscalls.wire import BlobRef, Chunk, WireError

DIGEST_BYTES = 16


def digest_of(data: bytes) -> bytes:
    """The address of a blob on the wire: BLAKE2b, 16 bytes."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


@final
class Sending:
    """One outgoing blob: which bytes are out, and how many more the other end has room for."""

    def __init__(self, transfer: int, data: bytes, limits: PeerLimits) -> None:
        self.ref = BlobRef(transfer, len(data), digest_of(data))
        self._data = data
        self._offset = 0
        self._granted = limits.blob_window_bytes
        self._window = limits.blob_window_bytes
        self._chunk = limits.chunk_bytes

    @property
    def finished(self) -> bool:
        return self._offset >= len(self._data)

    @property
    def left_bytes(self) -> int:
        """What the other end has not let us send yet."""
        return len(self._data) - self._offset

    def grant(self, n: int) -> None:
        """The other end took `n` bytes. Raises WireError if that is more than it was sent."""
        self._granted += n
        if self._granted > self._offset + self._window:
            raise WireError(f"credit for {n} bytes of blob {self.ref.transfer} that were never sent")

    def chunks(self) -> Iterator[Chunk]:
        """The chunks that may go out now."""
        while not self.finished and self._offset < self._granted:
            end = min(self._offset + self._chunk, self._granted, len(self._data))
            yield Chunk(self.ref.transfer, self._offset, self._data[self._offset : end])
            self._offset = end


@final
class Departures:
    """Outgoing blobs of one link."""

    def __init__(self, limits: PeerLimits) -> None:
        self._limits = limits
        self._next = 1
        self._open: dict[int, Sending] = {}

    @property
    def held_bytes(self) -> int:
        """What is kept until the other end has room for it."""
        return sum(sending.left_bytes for sending in self._open.values())

    def admits(self, size: int) -> bool:
        """Whether the other end, which holds no more than it said, has room for `size` bytes besides those under
        way."""
        under_way = sum(sending.ref.size for sending in self._open.values())
        return under_way + size <= self._limits.blob_total_bytes_max

    def add(self, data: bytes) -> BlobRef:
        """Takes a blob on; the frame that names the reference goes out before its chunks."""
        sending = Sending(self._next, data, self._limits)
        self._open[self._next] = sending
        self._next += 1
        return sending.ref

    def grant(self, transfer: int, n: int) -> None:
        """The other end took `n` bytes of a blob. Raises WireError if it was never sent that many."""
        sending = self._open.get(transfer)
        if sending is not None:
            sending.grant(n)

    def chunks(self, transfer: int) -> Iterator[Chunk]:
        """The chunks of a blob that may go out now; forgotten after the last."""
        sending = self._open.get(transfer)
        if sending is None:
            return
        yield from sending.chunks()
        if sending.finished:
            del self._open[transfer]


@final
class _Arrival:
    """A blob on its way in; one that nobody wants is counted and not kept."""

    __slots__ = ("data", "kept", "ref", "seen")

    def __init__(self, ref: BlobRef, *, kept: bool) -> None:
        self.ref = ref
        self.kept = kept
        self.seen = 0
        self.data = bytearray()


@final
class Arrivals:
    """Incoming blobs of one link, bounded one by one and in sum."""

    def __init__(self, limits: PeerLimits) -> None:
        self._limits = limits
        self._open: dict[int, _Arrival] = {}

    @property
    def held_bytes(self) -> int:
        """What may have to be kept for the blobs that were announced."""
        return sum(arrival.ref.size for arrival in self._open.values() if arrival.kept)

    def expect(self, ref: BlobRef, *, keep: bool = True) -> None:
        """A frame has named `ref`; its chunks follow. Raises WireError for one too long, or beyond what this link may
        hold."""
        if not 0 < ref.size <= self._limits.blob_bytes_max:
            raise WireError(f"a blob of {ref.size} bytes; this link takes at most {self._limits.blob_bytes_max}")
        if ref.transfer in self._open:
            raise WireError(f"blob {ref.transfer} was announced twice")
        if keep and self.held_bytes + ref.size > self._limits.blob_total_bytes_max:
            raise WireError(f"blobs of more than {self._limits.blob_total_bytes_max} bytes at once on one link")
        if len(self._open) > 2 * self._limits.calls_max:
            raise WireError(f"{len(self._open)} blobs under way at once on one link")
        self._open[ref.transfer] = _Arrival(ref, kept=keep)

    def discard(self, transfer: int) -> None:
        """Nobody wants it any more; what still comes of it is passed over."""
        arrival = self._open[transfer]
        arrival.kept = False
        arrival.data.clear()

    def add(self, chunk: Chunk) -> bytes | None:
        """Takes one chunk; the whole blob once it is whole and wanted.

        Raises WireError if the chunk is of no announced blob, out of order or too long, or the whole is not what was
        announced."""
        arrival = self._open.get(chunk.transfer)
        if arrival is None or chunk.offset != arrival.seen or not chunk.data:
            raise WireError(f"a chunk at {chunk.offset} of blob {chunk.transfer} that was not announced so")
        arrival.seen += len(chunk.data)
        if arrival.seen > arrival.ref.size:
            raise WireError(f"blob {chunk.transfer} is longer than the {arrival.ref.size} bytes it announced")
        if arrival.kept:
            arrival.data += chunk.data
        if arrival.seen < arrival.ref.size:
            return None
        del self._open[chunk.transfer]
        return self._whole(arrival) if arrival.kept else None

    def _whole(self, arrival: _Arrival) -> bytes:
        data = bytes(arrival.data)
        if digest_of(data) != arrival.ref.digest:
            raise WireError(f"blob {arrival.ref.transfer} is not what its digest says")
        return data

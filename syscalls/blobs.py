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
        self._credit = limits.blob_window_bytes
        self._chunk = limits.chunk_bytes

    @property
    def finished(self) -> bool:
        return self._offset >= len(self._data)

    def grant(self, n: int) -> None:
        """The other end took `n` bytes. Raises WireError if that is more than it was sent."""
        self._credit += n
        if self._credit > self._offset + self._chunk * 1024:
            raise WireError(f"credit for {n} bytes of a blob that was never sent")

    def chunks(self) -> Iterator[Chunk]:
        """The chunks that may go out now."""
        while not self.finished and self._credit > 0:
            piece = self._data[self._offset : self._offset + min(self._chunk, self._credit)]
            yield Chunk(self.ref.transfer, len(self._data), self._offset, piece)
            self._offset += len(piece)
            self._credit -= len(piece)


@final
class Arrivals:
    """Incoming blobs of one link, bounded one by one and in sum."""

    def __init__(self, limits: PeerLimits) -> None:
        self._limits = limits
        self._parts: dict[int, bytearray] = {}
        self._sizes: dict[int, int] = {}

    @property
    def held_bytes(self) -> int:
        return sum(self._sizes.values())

    def add(self, chunk: Chunk) -> None:
        """Takes one chunk. Raises WireError if it is out of order, too long, or beyond what this link may hold."""
        part = self._parts.get(chunk.transfer)
        if part is None:
            part = self._open(chunk)
        if chunk.offset != len(part) or chunk.size != self._sizes[chunk.transfer] or not chunk.data:
            raise WireError(f"chunk at {chunk.offset} of blob {chunk.transfer} is out of order")
        if len(part) + len(chunk.data) > chunk.size:
            raise WireError(f"blob {chunk.transfer} is longer than the {chunk.size} bytes it announced")
        part += chunk.data

    def _open(self, chunk: Chunk) -> bytearray:
        if not 0 < chunk.size <= self._limits.blob_bytes_max:
            raise WireError(f"a blob of {chunk.size} bytes; this link takes at most {self._limits.blob_bytes_max}")
        if self.held_bytes + chunk.size > self._limits.blob_total_bytes_max:
            raise WireError(f"blobs of more than {self._limits.blob_total_bytes_max} bytes at once on one link")
        self._sizes[chunk.transfer] = chunk.size
        return self._parts.setdefault(chunk.transfer, bytearray())

    def take(self, ref: BlobRef) -> bytes:
        """The whole blob, which is no longer held. Raises WireError if it is not whole or not what its digest says."""
        data = bytes(self._parts.pop(ref.transfer, b""))
        self._sizes.pop(ref.transfer, None)
        if len(data) != ref.size or digest_of(data) != ref.digest:
            raise WireError(f"blob {ref.transfer} did not arrive as announced")
        return data

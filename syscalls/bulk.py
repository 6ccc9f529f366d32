"""Arguments and results that do not fit a frame: they go out as chunks after the frame that names them, and come in as
if they had fitted."""

from collections import deque
from collections.abc import Callable
from typing import final

from msgspec import Raw

from syscalls.blobs import Arrivals, Departures
from syscalls.errors import Errno
from syscalls.limits import PeerLimits
from syscalls.wire import NIL, Call, Chunk, Credit, End, Error, Frame, Reply

Bulky = Call | Reply | End


@final
class Bulk:
    """The blobs of one link, both ways. `put` writes a frame."""

    def __init__(self, limits: PeerLimits, put: Callable[[Frame], None]) -> None:
        self._limits = limits
        self._put = put
        self._arrivals = Arrivals(limits)
        self._departures = Departures(limits)
        self._delayed: deque[Reply | End] = deque()
        self._incomplete: dict[int, Bulky] = {}
        self.used = False
        """Whether anything ever went out here: on most links nothing does."""

    @property
    def held_bytes(self) -> int:
        """What is kept until the other end has room for it."""
        return self._departures.held_bytes + sum(len(bytes(frame.result)) for frame in self._delayed)

    @property
    def arriving_bytes(self) -> int:
        """What may have to be kept for the blobs that the other end announced."""
        return self._arrivals.held_bytes

    # Going out.

    def send(self, frame: Bulky, data: bytes) -> None:
        """Sends `frame`, whose argument or result `data` fits no frame.

        An answer waits until the other end has room for it, and one that no blob holds becomes an error. A call does
        not wait, for calls go out in order: raises BlockingIOError, or ValueError for one that no blob holds.
        """
        self.used = True
        if len(data) > self._limits.blob_bytes_max:
            self._refuse(frame, len(data))
        elif not self._delayed and self._departures.admits(len(data)):
            self._start(frame, data)
        elif isinstance(frame, Call):
            raise BlockingIOError(f"blobs of {self._limits.blob_total_bytes_max} bytes are under way: wait for one")
        else:
            self._delayed.append(frame)

    def granted(self, credit: Credit) -> None:
        """The other end took some of a blob. Raises WireError if it was never sent that much."""
        self._departures.grant(credit.id, credit.n)
        self._pump(credit.id)
        while self._delayed and self._departures.admits(len(bytes(self._delayed[0].result))):
            frame = self._delayed.popleft()
            self._start(frame, bytes(frame.result))

    def _start(self, frame: Bulky, data: bytes) -> None:
        ref = self._departures.add(data)
        if isinstance(frame, Call):
            self._put(Call(frame.id, frame.channel, frame.number, NIL, frame.credit, frame.key, ref))
        else:
            self._put(type(frame)(frame.id, NIL, ref))
        self._pump(ref.transfer)

    def _pump(self, transfer: int) -> None:
        for chunk in self._departures.chunks(transfer):
            self._put(chunk)

    def _refuse(self, frame: Bulky, size: int) -> None:
        message = f"{size} bytes; this link takes at most {self._limits.blob_bytes_max} in one argument or result"
        if isinstance(frame, Call):
            raise ValueError(message)
        self._put(Error(frame.id, Errno.EINVAL, message))

    # Coming in.

    def expect(self, frame: Bulky, *, keep: bool = True) -> None:
        """`frame` names a blob whose chunks follow. Raises WireError for one that this link does not take."""
        assert frame.blob is not None
        self._arrivals.expect(frame.blob, keep=keep)
        if keep:
            self._incomplete[frame.blob.transfer] = frame

    def pieced(self, chunk: Chunk) -> Frame | None:
        """Takes a chunk; the frame that named the blob, whole, once it is. Raises WireError for a wrong chunk."""
        data = self._arrivals.add(chunk)
        self._put(Credit(chunk.transfer, len(chunk.data), True))
        if data is None:
            return None
        frame = self._incomplete.pop(chunk.transfer)
        if isinstance(frame, Call):
            return Call(frame.id, frame.channel, frame.number, Raw(data), frame.credit, frame.key)
        return type(frame)(frame.id, Raw(data))

    def forgo(self, call_id: int) -> bool:
        """Whether call `call_id` of the other end is not whole yet; then what comes of it is passed over."""
        for transfer, frame in self._incomplete.items():
            if isinstance(frame, Call) and frame.id == call_id:
                self._arrivals.discard(transfer)
                del self._incomplete[transfer]
                return True
        return False

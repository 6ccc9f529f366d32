"""A client's link over a blocking socket: no loop, no threads, a fast start; what the command line uses."""

import socket
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Protocol, Self, final

from msgspec import Raw

from syscalls.codec import pack, parse_answer
from syscalls.errors import BrokenPipe, Errno, Invalid, SyscallError, TryAgain, farewell, syscall_error
from syscalls.limits import CLIENT_LIMITS, STREAM_CREDIT, PeerLimits
from syscalls.peer import Peer
from syscalls.row import Row
from syscalls.wire import ANSWERS, RESULTS, Bye, Call, Error, Event, Frame, Hello, Items, WireError

_RECEIVE_BYTES = 64 * 1024
_OF_A_CALL = (*ANSWERS, Items)


class Wire(Protocol):
    """A connected socket, or what does as well."""

    def recv(self, bytes_max: int, /) -> bytes: ...
    def sendall(self, data: bytearray, /) -> None: ...
    def close(self) -> None: ...


@final
class BlockingLink:
    """One caller, one call at a time (or one stream). Raises BrokenPipe (EPIPE) once the kernel is gone."""

    def __init__(
        self,
        sock: Wire,
        *,
        hello: Hello | None = None,
        limits: PeerLimits = CLIENT_LIMITS,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._sock = sock
        self._peer = Peer(limits, hello or Hello())
        self._on_event = on_event
        self._inbox: list[Frame] = []
        try:
            self._flush()
        except BaseException:
            sock.close()  # it is the link's from here on, and nobody gets the link
            raise

    @classmethod
    def connect(cls, path: str, **options: Any) -> Self:
        """Connects to the kernel's socket. Raises OSError as socket.connect does."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
            return cls(sock, **options)
        except BaseException:
            sock.close()
            raise

    def call(self, row: Row, args: Any, *, channel: int = 0) -> Any:
        """Makes the call and waits for its result, typed as the row says. Raises the SyscallError it ended with."""
        call_id = self._start(row, args, channel=channel, credit=0)
        return parse_answer(row.result, self._finish(call_id), name=row.name)

    def stream(self, row: Row, args: Any, *, channel: int = 0) -> Generator[Any, None, Any]:
        """Yields the items of a stream; the generator's return value is the result. Closing it early cancels the
        call."""
        call_id = self._start(row, args, channel=channel, credit=STREAM_CREDIT)
        finished = False
        try:
            while True:
                frame = self._next(call_id)
                if isinstance(frame, Items):
                    for item in frame.items:
                        yield parse_answer(row.item, item, name=row.name)
                    self._peer.take(call_id, len(frame.items))
                    self._flush()
                    continue
                finished = True
                return parse_answer(row.result, _outcome(frame), name=row.name)
        finally:
            if not finished and self._peer.closed is None:
                self._peer.cancel(call_id, "closed")
                self._flush()

    def close(self) -> None:
        """Says BYE if it still can, and closes the socket."""
        self._peer.bye("done")
        try:
            self._flush()
        except SyscallError:
            pass
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, row: Row, args: Any, *, channel: int, credit: int) -> int:
        try:
            call_id = self._peer.call(
                row.number if row.number >= 0 else row.name, pack(args), channel=channel, credit=credit
            )
        except WireError as ended:
            raise farewell(str(ended)) from None
        except BlockingIOError as full:
            raise TryAgain(str(full)) from None
        except ValueError as too_long:
            raise Invalid(str(too_long)) from None
        self._flush()
        return call_id

    def _finish(self, call_id: int) -> Raw:
        while True:
            frame = self._next(call_id)
            if not isinstance(frame, Items):
                return _outcome(frame)

    def _next(self, call_id: int) -> Frame:
        """The next frame of this call; answers to calls that were given up are dropped, signals are told."""
        while True:
            while self._inbox:
                frame = self._inbox.pop(0)
                if isinstance(frame, _OF_A_CALL) and frame.id == call_id:
                    return frame
                self._aside(frame)
            self._inbox = self._receive()

    def _aside(self, frame: Frame) -> None:
        if isinstance(frame, Event) and self._on_event is not None:
            self._on_event(frame)
        elif isinstance(frame, Call):
            self._peer.error(frame.id, Errno.ENOSYS, "a client serves no calls")
        elif isinstance(frame, Bye):
            raise farewell(frame.reason or "the kernel ended the connection and gave no reason")

    def _receive(self) -> list[Frame]:
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except SyscallError:
            raise
        except OSError as gone:
            raise BrokenPipe(f"the kernel is gone: {gone}") from None
        if not data:
            raise BrokenPipe("the kernel closed the connection")
        try:
            frames = self._peer.receive(data)
        except WireError as breach:
            raise BrokenPipe(str(breach)) from None
        self._flush()
        return frames

    def _flush(self) -> None:
        data, self._peer.outbox = self._peer.outbox, bytearray()
        if not data:
            return
        try:
            self._sock.sendall(data)
        except SyscallError:
            raise
        except OSError as gone:
            raise BrokenPipe(f"the kernel is gone: {gone}") from None


def _outcome(frame: Frame) -> Raw:
    if isinstance(frame, Error):
        raise syscall_error(frame.errno, frame.message)
    assert isinstance(frame, RESULTS)
    return frame.result

"""What every async link shares: calls that wait, streams that are taken, calls that are served; the loop is somebody
else's.

The class is written against two things that trio and anyio both have, an event with `set` and `wait`, and a transport
with trio's `receive_some` and `send_all`; so the kernel runs it on raw trio and everybody else on anyio, and there is
one of it.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, final

from msgspec import Raw

from syscalls.codec import pack, parse_answer
from syscalls.errors import BrokenPipe, Errno, Invalid, SyscallError, TryAgain, farewell, syscall_error
from syscalls.limits import STREAM_CREDIT
from syscalls.link.loop import Flag, Loop
from syscalls.link.pump import Pump
from syscalls.link.ticket import Answer, Stream, Ticket, Waiting
from syscalls.link.transport import Transport
from syscalls.peer import Peer
from syscalls.row import Row
from syscalls.wire import ANSWERS, Call, Cancel, Credit, End, Error, Event, Frame, Hello, Items, Reply, WireError


class Server(Protocol):
    """Who serves the calls that the other end makes. None of these may wait: a call that must is given a task of its
    own."""

    def on_call(self, link: "Duplex", call: Call) -> None: ...
    def on_cancel(self, link: "Duplex", cancel: Cancel) -> None: ...
    def on_event(self, link: "Duplex", event: Event) -> None: ...


@final
class NoServer:
    """A client: it serves nothing and hears nothing."""

    def on_call(self, link: "Duplex", call: Call) -> None:
        link.error(call.id, Errno.ENOSYS, "this end serves no calls")

    def on_cancel(self, link: "Duplex", cancel: Cancel) -> None:
        pass

    def on_event(self, link: "Duplex", event: Event) -> None:
        pass


@final
class Duplex:
    """One link: `run` serves it until it ends.

    With `outbox_bytes_max` nothing more is read from the other end while so much waits to be written to it: one that
    calls and does not read its answers fills its own buffers, not ours. Only one end of a link may do so.
    """

    def __init__(
        self,
        peer: Peer,
        transport: Transport,
        server: Server,
        make_flag: Callable[[], Flag],
        *,
        outbox_bytes_max: int | None = None,
    ) -> None:
        self.peer = peer
        self._pump = Pump(peer, transport, make_flag, self._dispatch, outbox_bytes_max=outbox_bytes_max)
        self.flush = self._pump.flush
        self.reader = self._pump.reader
        self.writer = self._pump.writer
        self.last_words = self._pump.last_words
        self._server = server
        self._make_flag = make_flag
        self._waiting: dict[int, Waiting] = {}
        self._greeted = make_flag()
        self._end = make_flag()
        self._credited: dict[int, Flag] = {}
        self._hung_up = False

    async def run(self, loop: Loop, otherwise: str = "the other end closed the link") -> str:
        """Serves the link until it ends, then fails the calls that wait; why it ended (`otherwise` where nobody said
        a reason). Never raises for what the other end did."""
        reason = otherwise
        try:
            reason = await self._pump.run(loop) or otherwise
        finally:
            reason = self.peer.closed or reason
            self.hang_up(reason)
        return reason

    # Calling.

    async def call(self, row: Row, args: Any, *, channel: int = 0) -> Any:
        """Makes the call and waits for its typed result. Raises its SyscallError, or BrokenPipe when the link ends."""
        call_id = self._start(row, args, channel, 0, None)
        waiting = self._waiting[call_id]
        try:
            if self._pump.sent_now:
                await self._pump.look()
            while waiting.outcome is None:
                waiting.woken = self._make_flag()
                await waiting.woken.wait()
        except BaseException:
            self.abandon(call_id)
            raise
        del self._waiting[call_id]
        return parse_answer(row.result, _result_of(waiting.outcome), name=row.name)

    def ask(self, row: Row, args: Any, done: Callable[[Answer], None], *, channel: int = 0) -> int:
        """Makes the call for somebody who has no task to wait in: `done` is told the answer, once, an Error with EPIPE
        when the link ends before it. The id of the call."""
        call_id = self._start(row, args, channel, 0, None, self._pump.flush_later)
        self._waiting[call_id].done = done
        return call_id

    def begin(self, row: Row, args: Any, *, channel: int = 0) -> Ticket:
        """Makes the call without waiting for it."""
        return Ticket(self, self._start(row, args, channel, 0, None), row)

    @asynccontextmanager
    async def stream(
        self, row: Row, args: Any, *, channel: int = 0, credit: int = STREAM_CREDIT
    ) -> AsyncIterator[Stream]:
        """A call whose items are taken one by one; leaving the block early cancels it."""
        opened = self.open_stream(row, args, channel=channel, credit=credit)
        try:
            yield opened
        finally:
            opened.close()

    def open_stream(self, row: Row, args: Any, *, channel: int = 0, credit: int = STREAM_CREDIT) -> Stream:
        """A call whose items are taken one by one; the caller closes it."""
        return Stream(self, self._start(row, args, channel, credit, None), row)

    async def pour(self, row: Row, args: Any, sink: Callable[[list[Raw]], None], *, credit: int) -> Any:
        """A call whose items go raw into `sink` the moment they come, never waiting for it. Returns the typed result.

        The credit is given back as items arrive: for owners that bound what they keep by themselves."""
        call_id = self._start(row, args, 0, credit, sink)
        try:
            raw = await self.outcome(call_id)
        except BaseException:
            self.abandon(call_id)
            raise
        return parse_answer(row.result, raw, name=row.name)

    def cancel(self, call_id: int, reason: str) -> None:
        """Asks the other end to stop one call of ours; its answer still comes."""
        self.peer.cancel(call_id, reason)
        self.flush()

    async def greeted(self) -> Hello:
        """Waits for the other end's HELLO. Raises BrokenPipe if the link ends before it."""
        if self.peer.remote is None:
            await self._greeted.wait()
        if self.peer.remote is None:
            raise BrokenPipe(self.peer.closed or "the other end closed the link before it said HELLO")
        return self.peer.remote

    async def ended(self) -> str:
        """Waits until the link has ended; why."""
        if not self._hung_up:
            await self._end.wait()
        return self.peer.closed or ""

    # Serving.

    def reply(self, call_id: int, result: Any) -> bytes:
        """Answers a call with a struct (or None); the result as it crosses the wire."""
        packed = pack(result)
        self.peer.reply(call_id, packed)
        self.flush()
        return packed

    def items(self, call_id: int, items: list[Raw]) -> int:
        """Sends raw items; returns how many wait for credit. Raises Invalid (EINVAL) for one that fits no frame."""
        try:
            waiting = self.peer.items(call_id, items)
        except ValueError as too_long:
            raise Invalid(str(too_long)) from None
        self.flush()
        return waiting

    async def drained(self, call_id: int) -> None:
        """Waits until the reader of a stream has taken every item that was sent, or is gone."""
        try:
            while self.peer.waiting(call_id) and self.peer.closed is None:
                await self._credited.setdefault(call_id, self._make_flag()).wait()
        finally:
            self._credited.pop(call_id, None)

    def end(self, call_id: int, result: Any) -> bytes:
        """Ends a stream with its result; the result as it crosses the wire."""
        packed = pack(result)
        self.peer.end(call_id, packed)
        self.flush()
        return packed

    def error(self, call_id: int, errno: int, message: str) -> None:
        """Refuses a call or ends its stream badly."""
        self.peer.error(call_id, errno, message)
        self.flush()

    def fail(self, call_id: int, error: SyscallError) -> None:
        """As `error`, from an exception."""
        self.error(call_id, error.errno, error.message)

    def event(self, channel: int, kind: str, data: bytes = b"\xc0") -> None:
        """Tells the process on `channel` something; nothing where the other end does not read: so much waits for it
        already that it would fill our memory."""
        if self.peer.closed is None and self.peer.unsent_bytes <= self.peer.limits.blob_total_bytes_max:
            self.peer.event(channel, kind, data)
            self.flush()

    def bye(self, reason: str = "") -> None:
        """Says farewell; the writer still sends it, then ends."""
        self.peer.bye(reason)
        self.flush()

    def hang_up(self, reason: str) -> None:
        """The link has ended: every call of ours fails, with EPIPE unless the reason names another errno."""
        if self.peer.closed is None:
            self.peer.closed = reason
        self._hung_up = True
        self._end.set()
        self._greeted.set()
        why = farewell(reason)
        for call_id, waiting in tuple(self._waiting.items()):
            waiting.outcome = waiting.outcome or Error(call_id, why.errno, why.message)
            waiting.wake()
        for flag in self._credited.values():
            flag.set()
        self.peer.let_go()
        self._pump.wake()

    def _dispatch(self, frame: Frame) -> None:
        if isinstance(frame, Call):
            self._server.on_call(self, frame)
        elif isinstance(frame, ANSWERS):
            waiting = self._waiting.get(frame.id)
            if waiting is not None and waiting.outcome is None:
                waiting.outcome = frame
                if waiting.done is not None:
                    del self._waiting[frame.id]
                waiting.wake()
        elif isinstance(frame, Items):
            self._arrived(frame)
        elif isinstance(frame, Credit):
            flag = self._credited.pop(frame.id, None)
            if flag is not None:
                flag.set()
        elif isinstance(frame, Cancel):
            self._server.on_cancel(self, frame)
        elif isinstance(frame, Event):
            self._server.on_event(self, frame)
        elif isinstance(frame, Hello):
            self._greeted.set()

    def _arrived(self, frame: Items) -> None:
        waiting = self._waiting.get(frame.id)
        if waiting is None:
            return
        if waiting.sink is not None:
            self._pour_into(waiting, waiting.sink, frame)
            return
        if waiting.items is None:
            waiting.items = deque()
        waiting.items.extend(frame.items)
        waiting.wake()

    def _pour_into(self, waiting: Waiting, sink: Callable[[list[Raw]], None], frame: Items) -> None:
        """What the sink refuses ends its call, not the link."""
        try:
            sink(frame.items)
        except SyscallError as refused:
            waiting.outcome = waiting.outcome or Error(frame.id, refused.errno, refused.message)
            waiting.sink = _nowhere
            waiting.wake()
            self.cancel(frame.id, "refused")
            return
        waiting.taken += len(frame.items)
        if waiting.owes:
            self._give_back(frame.id, waiting)

    def _give_back(self, call_id: int, waiting: Waiting) -> None:
        self.peer.take(call_id, waiting.taken)
        waiting.taken = 0

    def _start(
        self,
        row: Row,
        args: Any,
        channel: int,
        credit: int,
        sink: Callable[[list[Raw]], None] | None,
        flush: Callable[[], None] | None = None,
    ) -> int:
        try:
            call_id = self.peer.call(
                row.number if row.number >= 0 else row.name, pack(args), channel=channel, credit=credit
            )
        except WireError as ended:
            raise farewell(str(ended)) from None
        except BlockingIOError as full:
            raise TryAgain(str(full)) from None
        except ValueError as too_long:
            raise Invalid(str(too_long)) from None
        self._waiting[call_id] = Waiting(credit, sink)
        (flush or self.flush)()
        return call_id

    async def outcome(self, call_id: int) -> Raw:
        waiting = self._waiting[call_id]
        while waiting.outcome is None:
            waiting.woken = self._make_flag()
            await waiting.woken.wait()
        del self._waiting[call_id]
        return _result_of(waiting.outcome)

    async def next_item(self, call_id: int) -> Raw | None:
        """The next item, or None when there are no more. The credit for those before it is given back once there are
        a few, or none is left to be taken."""
        waiting = self._waiting[call_id]
        if waiting.taken and (not waiting.items or waiting.owes):
            self._give_back(call_id, waiting)
            self.flush()
        while not waiting.items:
            if waiting.outcome is not None:
                return None
            waiting.woken = self._make_flag()
            await waiting.woken.wait()
        waiting.taken += 1
        return waiting.items.popleft()

    def abandon(self, call_id: int) -> None:
        waiting = self._waiting.pop(call_id, None)
        if waiting is not None and waiting.outcome is None:
            self.peer.cancel(call_id, "cancelled")
            self.flush()


def _result_of(outcome: Reply | End | Error) -> Raw:
    if isinstance(outcome, Error):
        raise syscall_error(outcome.errno, outcome.message)
    return outcome.result


def _nowhere(items: list[Raw]) -> None:
    pass

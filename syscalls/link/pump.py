"""What moves the bytes of a link: the reader, the writer, and how both end.

Answers that were made while a batch of frames was read leave in one piece after the batch. Outside of that, while the
link is *quiet* (the last batch was one frame), whoever makes a frame sends it from where it is, once, and leaves what
follows to the writer's task until something has been read; on a busy link all is left to the writer. So a caller that
is alone costs no change of tasks, and many at once share a send.

Where both ends share a core, who is asked has often answered by the time the question is sent, and who is answered
asked again. So both the reader and a caller on a quiet link look for it before they wait: a few times in a row, and no
longer where they find nothing.
"""

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import final

from syscalls.link.loop import Flag, Loop, Scope
from syscalls.link.transport import LinkBroken, Quick, Transport
from syscalls.peer import Peer
from syscalls.wire import Frame, WireError

RECEIVE_BYTES = 64 * 1024
LAST_WORDS_S = 0.5
ROUNDS_MAX = 8
"""How often in a row the reader may find something without having waited."""
ROUND_BYTES_MAX = 1024
FRAMES_AT_ONCE, AT_ONCE_S = 64, 0.002
"""After so many frames of one batch, or so much time with them, others have their turn before the next: a thousand fit
a batch, and each may be a call that takes a while."""
HOPE, DESPAIR = 4, 64
"""After so many vain looks in a row the reader looks but once in so many batches."""


@final
class Luck:
    """Whether it is worth looking for what may be there already: as long as it often was."""

    __slots__ = ("_hope",)

    def __init__(self) -> None:
        self._hope = HOPE

    def worth_a_look(self) -> bool:
        """Asked before each look; says so too often rather than never again."""
        if self._hope <= -DESPAIR:
            self._hope = 1
        elif self._hope <= 0:
            self._hope -= 1
        return self._hope > 0

    def looked(self, *, found: bool) -> None:
        """What came of it."""
        self._hope = HOPE if found else self._hope - 1


@final
class Pump:
    """The reader and the writer of one link; `dispatch` is handed each frame that the owner must act on."""

    def __init__(
        self,
        peer: Peer,
        transport: Transport,
        make_flag: Callable[[], Flag],
        dispatch: Callable[[Frame], None],
        *,
        outbox_bytes_max: int | None,
    ) -> None:
        self._peer = peer
        self._transport = transport
        self._make_flag = make_flag
        self._dispatch = dispatch
        self._outbox_bytes_max = outbox_bytes_max
        self._quick = transport if isinstance(transport, Quick) else None
        self._quiet = True
        self._reader_luck = Luck()
        self._caller_luck = Luck()
        self._at_once = 0
        self.sent_now = False
        """Whether what was last flushed is out, so that it is worth to look for the answer."""
        self._loop: Loop | None = None
        self._left: deque[Frame] = deque()
        self._may_send_now = True
        self._reading = False
        self._sending = False
        self._dirty: Flag | None = None
        self._written: Flag | None = None

    def flush(self) -> None:
        """Sees to it that the outbox is sent soon; never waits."""
        if self._reading or self._sending:
            return
        self.sent_now = False
        if self._may_send_now and self._quiet and self._quick is not None:
            self._may_send_now = False
            outbox = self._peer.outbox
            del outbox[: self._quick.send_now(outbox)]
            if not outbox and self._peer.closed is None:
                self.sent_now = True
                if self._written is not None:
                    self._tell_written()
                return
        if self._dirty is not None:
            self._dirty.set()

    def flush_later(self) -> None:
        """As `flush`, always by the writer: for frames that are made one after another and may share a send."""
        if self._dirty is not None:
            self._dirty.set()

    async def look(self) -> None:
        """For a caller whose call is out (`sent_now`): acts on an answer that is there already. Lets a cancellation
        through whenever it does. What is wrong with what it finds ends the link, and the call with it."""
        if self._quick is None or self._loop is None or self._left or self._at_once >= ROUNDS_MAX:
            return
        if not self._caller_luck.worth_a_look():
            return
        data = self._quick.answer_now(RECEIVE_BYTES)
        self._caller_luck.looked(found=bool(data))
        if not data:
            return
        self._at_once += 1
        try:
            self._act(data)
        except WireError:
            return  # BYE is on its way, and the writer ends the link behind it
        await self._loop.checkpoint_if_cancelled()

    async def reader(self) -> None:
        """Receives until the link ends. Raises WireError if the other end broke the protocol, LinkBroken if the
        transport did."""
        peer = self._peer
        while peer.closed is None:
            await self._room()
            data = await self._receive()
            if not data:
                return
            more = self._absorb(bytes(data))
            while self._left:
                if self._loop is not None:
                    await self._loop.checkpoint()
                self._go_on()
            if not more:
                return

    def _absorb(self, data: bytes) -> bool:
        """Acts on what came, and on a little of what comes while it does; whether there may be more."""
        self._at_once = 0
        for _ in range(ROUNDS_MAX):
            if self._act(data) or self._peer.closed is not None or self._quick is None:
                return True
            if len(data) > ROUND_BYTES_MAX or not self._reader_luck.worth_a_look():
                return True  # large batches must not come one after another without a pause for others
            more = self._quick.receive_now(RECEIVE_BYTES)
            self._reader_luck.looked(found=more is not None)
            if not more:
                return more is None
            data = more
        self._act(data)
        return True

    def _act(self, data: bytes) -> bool:
        """Acts on the frames in `data`, or on the first of them; whether something is left to be done or sent."""
        self._reading = True
        try:
            frames = self._peer.receive(data)
            self._quiet = len(frames) <= 1
            self._left.extend(frames)
        finally:
            self._reading = False
            self._go_on()
        return bool(self._left or self._peer.outbox)

    def _go_on(self) -> None:
        """Acts on some of the frames that are left."""
        left = self._left
        self._reading = True
        try:
            until_s = perf_counter() + AT_ONCE_S
            for _ in range(FRAMES_AT_ONCE):
                if not left:
                    break
                self._dispatch(left.popleft())
                if left and perf_counter() > until_s:
                    break
        finally:
            self._reading = False
            self._may_send_now = True
            if self._peer.outbox:
                self.flush()

    async def writer(self) -> None:
        """Sends whatever is in the outbox, one write per batch, until BYE is out. Raises LinkBroken."""
        peer = self._peer
        while True:
            while not peer.outbox:
                if peer.closed is not None:
                    return
                self._may_send_now = True
                self._dirty = self._make_flag()
                await self._dirty.wait()
            data, peer.outbox = bytes(peer.outbox), bytearray()
            self._sending = True
            self._tell_written()
            try:
                await self._transport.send_all(data)
            except Exception as broken:
                raise LinkBroken(f"the link broke: {broken}") from broken
            finally:
                self._sending = False
            self._tell_written()

    async def run(self, loop: Loop) -> str:
        """The reader and the writer until either ends; what broke it, if anything did. Never raises for what the other
        end did."""
        reason = ""
        self._loop = loop
        async with loop.open_nursery() as nursery:
            nursery.start_soon(self._write, nursery.cancel_scope)
            try:
                await self.reader()
            except (WireError, LinkBroken) as broken:
                reason = str(broken)
            await self.last_words(loop)
            nursery.cancel_scope.cancel()
        return reason

    async def last_words(self, loop: Loop, *, shield: bool = False) -> None:
        """Once BYE was said: gives the writer a moment to send it, and what this end owed before it."""
        with loop.move_on_after(LAST_WORDS_S, shield=shield):
            while (self._peer.outbox or self._sending) and self._peer.closed is not None:
                await self._writing()

    def wake(self) -> None:
        """The link has ended: nobody waits for it any more."""
        if self._dirty is not None:
            self._dirty.set()

    async def _write(self, scope: Scope) -> None:
        try:
            await self.writer()
        except LinkBroken:
            pass
        scope.cancel()

    async def _room(self) -> None:
        """Waits until the other end has read enough of what we wrote."""
        while self._outbox_bytes_max is not None and len(self._peer.outbox) > self._outbox_bytes_max:
            await self._writing()

    async def _writing(self) -> None:
        """Waits until the writer has got on."""
        if self._written is None:
            self._written = self._make_flag()
        await self._written.wait()

    def _tell_written(self) -> None:
        written, self._written = self._written, None
        if written is not None:
            written.set()

    async def _receive(self) -> bytes | bytearray:
        try:
            return await self._transport.receive_some(RECEIVE_BYTES)
        except Exception as broken:
            raise LinkBroken(f"the link broke: {broken}") from broken

"""The kernel's end of a link: a raw trio socket, the calls that come over it, and whose they are."""

from collections.abc import Callable
from typing import Final, Protocol, final

import trio

from kernel.load import LIGHT_BYTES, Load
from kernel.loop import TRIO
from kernel.process import Process
from kernel.wait import slowly
from syscalls.errors import BrokenPipe, Errno
from syscalls.limits import CLIENT_LIMITS, OUTBOX_BYTES_MAX, PeerLimits
from syscalls.link.duplex import Duplex
from syscalls.link.transport import Transport
from syscalls.peer import Peer
from syscalls.wire import Call, Cancel, Event, Hello

CALLS_AT_ONCE: Final = 32


class Entrance(Protocol):
    """The gate, as links see it: serves a call at once, or in a task of its own whose scope it returns."""

    def enter(self, link: Duplex, call: Call, process: Process, nursery: trio.Nursery) -> trio.CancelScope | None: ...


class Channels(Protocol):
    """Which process a channel number stands for on one link; None is a forged one."""

    def process_on(self, channel: int) -> Process | None: ...


@final
class KernelLink:
    """A link whose other end makes system calls. `run` returns when it has ended, with the reason."""

    def __init__(
        self,
        transport: Transport,
        gate: Entrance,
        channels: Channels,
        *,
        hello: Hello,
        limits: PeerLimits = CLIENT_LIMITS,
    ) -> None:
        self._gate = gate
        self._channels = channels
        self._scopes: dict[int, tuple[int, trio.CancelScope]] = {}
        self._nursery: trio.Nursery | None = None
        peer = Peer(limits, hello)
        self._load = Load(peer)
        self.wire = Duplex(peer, transport, self, trio.Event, outbox_bytes_max=OUTBOX_BYTES_MAX)

    async def run(self, *, handshake_s: float, on_ready: Callable[[], None] = lambda: None) -> str:
        """Serves until the other end goes, breaks the protocol, or says no HELLO in time. Calls under way are
        cancelled."""
        reason = ""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._greet, handshake_s, on_ready)
            reason = await self.wire.run(TRIO)
            await self._give_up()
            nursery.cancel_scope.cancel()
        return reason or self.wire.peer.closed or "the other end said no HELLO"

    def on_call(self, link: Duplex, call: Call) -> None:
        process = self._channels.process_on(call.channel)
        if process is None or self._nursery is None:
            link.error(call.id, Errno.EPERM, f"channel {call.channel} is not this link's")
            link.bye(f"a call on channel {call.channel}, which is not this link's")
            return
        if process.exit is not None:
            link.error(call.id, Errno.ESRCH, f"process {process.pid} ({process.name}) has ended")
            return
        if link.peer.unsent_bytes > link.peer.limits.blob_total_bytes_max:
            link.error(call.id, Errno.EAGAIN, f"{link.peer.unsent_bytes} bytes of answers wait to be read: read them")
            return
        if memoryview(call.args).nbytes > LIGHT_BYTES and (full := self._load.take(call)):
            link.error(call.id, Errno.EAGAIN, full)
            return
        scope = self._gate.enter(link, call, process, self._nursery)
        if scope is not None:
            self._scopes[call.id] = call.channel, scope
            if len(self._scopes) > 2 * self.wire.peer.limits.calls_max:
                self._forget()

    def on_cancel(self, link: Duplex, cancel: Cancel) -> None:
        found = self._scopes.pop(cancel.id, None)
        if found is not None:
            found[1].cancel()

    def cancel_channel(self, channel: int) -> None:
        """Cancels every call that is under way on `channel`."""
        for on, scope in tuple(self._scopes.values()):
            if on == channel:
                scope.cancel()

    def on_event(self, link: Duplex, event: Event) -> None:
        pass

    async def _give_up(self) -> None:
        """The other end has gone: what it had under way ends, a few calls at a time, for others to go on between."""
        async for _, scope in slowly(tuple(self._scopes.values()), at_once=CALLS_AT_ONCE):
            scope.cancel()

    def _forget(self) -> None:
        """Drops the scopes of calls that were answered."""
        self._scopes = {i: s for i, s in self._scopes.items() if self.wire.peer.is_serving(i)}

    async def _greet(self, handshake_s: float, on_ready: Callable[[], None]) -> None:
        with trio.move_on_after(handshake_s) as limit:
            try:
                await self.wire.greeted()
            except BrokenPipe:
                return  # it broke before it said who it is; the reader knows why
            on_ready()
        if limit.cancelled_caught:
            self.wire.bye(f"no HELLO in {handshake_s:g} s")
            await self.wire.last_words(TRIO)
            assert self._nursery is not None
            self._nursery.cancel_scope.cancel()

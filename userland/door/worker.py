"""The worker that serves one command's door: one link to the kernel, one listening socket, nothing else."""

import socket
from typing import final

import trio

from syscalls import worker
from syscalls.codec import unpack
from syscalls.errors import Errno, SyscallError
from syscalls.link.duplex import Duplex
from syscalls.link.transport import SocketTransport
from syscalls.peer import Peer
from syscalls.wire import Call, Cancel, Event
from syscalls.worker import DOOR_FD, OpenDoor
from userland.door.routes import Routes
from userland.door.server import serve
from userland.link import TRIO
from userland.sdk.door import Door
from userland.sdk.system import Sys
from userland.worker import greet


@final
class DoorWorker:
    """Serves the one call that the kernel makes to it, for as long as the kernel lets it."""

    def __init__(self, peer: Peer, sock: socket.socket, listening: socket.socket) -> None:
        self.link = Duplex(peer, SocketTransport(sock, TRIO), self, trio.Event)
        self._listening = listening
        self._nursery: trio.Nursery | None = None

    async def serve(self) -> None:
        """Until the kernel hangs up."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.link.run(TRIO)
            nursery.cancel_scope.cancel()

    def on_call(self, link: Duplex, call: Call) -> None:
        assert self._nursery is not None
        if call.number != worker.DOOR.number:
            link.error(call.id, Errno.ENOSYS, f"the worker of a door serves no call {call.number!r}")
            return
        try:
            args = unpack(OpenDoor, call.args)
        except SyscallError as bad:
            link.fail(call.id, bad)
            return
        self._nursery.start_soon(self._open, args)

    def on_cancel(self, link: Duplex, cancel: Cancel) -> None:
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def on_event(self, link: Duplex, event: Event) -> None:
        pass

    async def _open(self, args: OpenDoor) -> None:
        system = Sys(Door(self.link, args.channel), pid=args.pid, model=args.model or None)
        await serve(self._listening, Routes(system, key=args.key))


def main(fd: int, payload: bytes = b"") -> int:
    """As `userland.worker.main`, for a door: its listening socket is descriptor DOOR_FD."""
    sock = socket.socket(fileno=fd)
    peer = greet(sock, "door")
    if peer is None:
        return 1
    listening = socket.socket(fileno=DOOR_FD)
    trio.run(DoorWorker(peer, sock, listening).serve)
    return 0

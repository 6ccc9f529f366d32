"""The children of a zygote that are no workers yet: the host's, like all its children, to reap.

Each says itself that it is there, on the control socket that it has from the zygote, before it does anything
else, and the zygote says so too: either may be killed right after the fork. What is read there at the zygote's
end is therefore all there were.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import final

import msgspec
import trio

from sandbox.attested import receive_nowait
from sandbox.ending import wait
from sandbox.groups import Group, Groups
from sandbox.messages import FromZygote, Hatched, Lost

_decode = msgspec.msgpack.Decoder(FromZygote).decode


@final
class Brood:
    """What is known of them, by what the control socket says."""

    def __init__(self, control: socket.socket, groups: Groups | None = None) -> None:
        self._control = control
        self._groups = groups
        self._alive: set[int] = set()
        self._named: dict[int, str] = {}
        self._lost: set[int] = set()

    def left(self, pid: int) -> Group | None:
        """`pid` is a worker now, and has this group. That it was there has been said before."""
        self._hear()
        self._alive.discard(pid)
        return self._group(pid)

    def drop(self, pid: int, group: Group | None) -> None:
        """`pid` was a worker, and nobody can hold it: it is ended, and reaped by the next who settles."""
        os.kill(pid, signal.SIGKILL)  # a child of ours that is not reaped: the pid is still its own
        self._lost.add(pid)
        if group is not None:
            self._named[pid] = group.name

    async def settle(self) -> None:
        """Hears what there is to hear, and reaps those that died before they were workers. Raises OSError where no
        descriptor is left."""
        self._hear()
        while self._lost:
            pid = next(iter(self._lost))
            pidfd = os.pidfd_open(pid)  # where no descriptor is left it stays, for the next who comes
            self._lost.discard(pid)
            await wait(pidfd)
            self._hear()  # it may have been slow, and have said only now that it was there
            self._alive.discard(pid)
            group = self._group(pid)
            if group is not None:
                group.remove()

    async def end(self) -> None:
        """The zygote is dead, which ends them: reaps all."""
        while not self._hear():
            await trio.lowlevel.wait_readable(self._control)
        self._lost |= self._alive
        self._alive.clear()
        await self.settle()

    def _group(self, pid: int) -> Group | None:
        name = self._named.pop(pid, "")
        return None if self._groups is None else self._groups.group(name)

    def _hear(self) -> bool:
        """Whether that was all there will ever be."""
        while True:
            try:
                received = receive_nowait(self._control)
            except BlockingIOError:
                return False
            except OSError:
                return True
            if received is None:
                return True
            data, sender, _ = received
            message = _decode(data)
            if isinstance(message, Hatched):
                self._alive.add(message.pid or sender)
                if message.group:
                    self._named[message.pid] = message.group
            elif isinstance(message, Lost):
                self._alive.discard(message.pid)
                self._lost.add(message.pid)

"""What a zygote makes, in the hands of the kernel: a worker, the jail of a command, and how their end is heard."""

from __future__ import annotations

import socket
from typing import Final, final

import msgspec
import trio

from sandbox.ending import Exit, wait
from sandbox.groups import Group
from sandbox.init import GO
from sandbox.limits import MESSAGE_BYTES_MAX
from sandbox.messages import Ended

_decode_ended: Final = msgspec.msgpack.Decoder(Ended).decode


@final
class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A confined guest: a child of this process, not yet reaped.

    `sock` is the kernel's end of its socket, `output` the reading end of a pipe that carries its raw
    descriptors 1 and 2; both are non-blocking and the caller's to close. `pidfd` is closed by `reap`.
    `layers_us` says what each layer took to put up. In the tier `files` `mediated` is where its calls are to be
    answered, and its root, the caller's to close: until somebody answers, it waits. `group` is its control group, which
    `reap` removes; None where there are none.
    """

    pid: int
    pidfd: int
    sock: socket.socket
    output: int
    layers_us: dict[str, int]
    mediated: tuple[int, int] | None = None
    group: Group | None = None


@final
class Command:
    """A jail in which an executable waits to be started. `door` listens on the loopback of its network; the
    descriptors of `stdio` are our ends of its 0, 1 and 2, or `terminal` is our end of its terminal (then there are no
    pipes). All are non-blocking and the caller's to close, as those of `worker`."""

    def __init__(self, worker: Worker, *, door: socket.socket, terminal: int, stdio: tuple[int, ...]) -> None:
        self.worker = worker
        self.door = door
        self.terminal = terminal
        self.stdio = stdio

    def go(self) -> None:
        """Executes it."""
        self._say(GO)

    def signal(self, number: int) -> None:
        """STOP, CONT and KILL go to all that runs in the jail, any other signal to the command's own group. Nothing
        happens to one that has ended."""
        if number:
            self._say(number)

    def _say(self, byte: int) -> None:
        try:
            self.worker.sock.send(bytes((byte,)))
        except OSError:
            pass

    async def ended(self) -> Ended | None:
        """How the command ended; None if its jail was ended before it could say so."""
        said = b""
        while True:
            await trio.lowlevel.wait_readable(self.worker.sock)
            try:
                data = self.worker.sock.recv(MESSAGE_BYTES_MAX)
            except OSError:
                data = b""
            if not data:
                return _decode_ended(said) if said else None
            said += data


async def reap(worker: Worker) -> Exit:
    """Waits until a worker has ended, takes its status, closes its pidfd and removes its group. Call it once per
    worker."""
    return await buried(worker.pidfd, worker.group)


async def buried(pidfd: int, group: Group | None) -> Exit:
    """As `reap`, of a child that may be no worker yet."""
    exit_ = await wait(pidfd)
    if group is not None:
        group.remove()
    return exit_

"""A worker's life, played through against a stand-in for the kernel before there is one.

A zygote plays it after its imports. The interpreter writes its shortcuts into the code that it runs and fills its
caches; what is written before the fork all workers share, what comes after it each has to copy and hold for itself:
half a megabyte, and a third of the time to a program's first call. Nothing is left behind: no descriptor, no task, no
module.
"""

import socket
import sys
from typing import final

import trio

from syscalls import worker
from syscalls.calls.process import Nothing, ProcessInfo
from syscalls.codec import parse_args
from syscalls.errors import NoSyscall
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.duplex import Duplex
from syscalls.link.transport import SocketTransport
from syscalls.peer import Peer
from syscalls.table import TABLE
from syscalls.wire import Call, Cancel, Event, Hello
from userland.link import TRIO, run
from userland.printing import captured
from userland.sdk.program import program
from userland.sdk.system import Sys
from userland.serving import serve_socket

LIVES = 6
RUNS = 4
_INFO = ProcessInfo(pid=1, ppid=0, principal="", kind="program", name="rehearsal", state="running")


@program
async def part(sys: Sys) -> int:
    """What most programs do: call, and wait for an answer."""
    await sys.call("process.note", note="")
    return sys.pid


@final
class _StandIn:
    """Answers what a kernel would."""

    def on_call(self, link: Duplex, call: Call) -> None:
        row = TABLE[call.number] if isinstance(call.number, int) else None
        if row is None:
            link.fail(call.id, NoSyscall("the rehearsal has no such call"))
            return
        parse_args(row, call.args)
        link.reply(call.id, _INFO if row.result is ProcessInfo else Nothing())

    def on_cancel(self, link: Duplex, cancel: Cancel) -> None:
        pass

    def on_event(self, link: Duplex, event: Event) -> None:
        pass


def play() -> None:
    """The whole of it, a few times over."""
    modules, path = set(sys.modules), list(sys.path)
    with captured():
        for _ in range(LIVES):
            trio.run(_live)
            for name in set(sys.modules) - modules:
                del sys.modules[name]
    sys.path[:] = path


async def _live() -> None:
    ours, theirs = socket.socketpair()
    kernel = Duplex(Peer(CLIENT_LIMITS, Hello()), SocketTransport(ours, TRIO), _StandIn(), trio.Event)
    with ours, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, kernel)
            nursery.start_soon(serve_socket, theirs, Peer(CLIENT_LIMITS, Hello(info={"role": "worker"})))
            await kernel.greeted()
            for _ in range(RUNS):
                await kernel.call(worker.RUN, worker.Run(pid=1, channel=1, program="part", file=__file__))
            nursery.cancel_scope.cancel()

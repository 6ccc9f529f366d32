"""The OS process that serves one driver: `python -m drivers.host DRIVER --fd N`.

Whoever starts it hands over one end of a socketpair as descriptor N and gets HELLO at once; the driver is loaded when
a device is opened. The process ends with its link and with its parent (`drivers.tether`).

Libraries that print get stderr: descriptor 1 is pointed there. Ctrl-C in the terminal is the kernel's, not ours.
"""

import argparse
import mmap
import os
import signal
import socket
import sys

import anyio
import trio

from drivers.loading import load
from drivers.serving import DriverServer
from drivers.tether import follow_parent
from syscalls.driver import LEDGER_PAGE
from syscalls.limits import DRIVER_LIMITS
from syscalls.link.async_ import ANYIO, run
from syscalls.link.duplex import Duplex
from syscalls.link.transport import SocketTransport
from syscalls.peer import Peer
from syscalls.wire import Hello

CLOSE_TIMEOUT_S = 3.0


def main(argv: list[str] | None = None) -> int:
    """Parses the command line, ties this process to its parent, and serves until the link ends."""
    parser = argparse.ArgumentParser(prog="python -m drivers.host", description="Serves one driver over a socket.")
    parser.add_argument("driver", help="its name, or MODULE:ATTRIBUTE")
    parser.add_argument("--fd", type=int, required=True, help="a connected AF_UNIX stream socket, inherited")
    parser.add_argument("--ledger", type=int, help="a memory file, inherited, in which to count; see LEDGER_PAGE")
    parser.add_argument("--parent", type=int, default=None, help="the pid this process must not outlive")
    parser.add_argument("--site", help="a folder of modules to find it in, after all others")
    chosen = parser.parse_args(argv)
    if chosen.site:
        sys.path.append(chosen.site)  # last: it hides nothing of ours
    follow_parent(chosen.parent if chosen.parent is not None else os.getppid())
    _quiet()
    page = None if chosen.ledger is None else memoryview(mmap.mmap(chosen.ledger, LEDGER_PAGE.size))
    trio.run(serve, chosen.driver, socket.socket(fileno=chosen.fd), page)
    return 0


def _quiet() -> None:
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


async def serve(name: str, sock: socket.socket, page: memoryview | None = None) -> None:
    """Serves the driver `name` over `sock` until the other end is gone."""
    transport = SocketTransport(sock, ANYIO)
    async with trio.open_nursery() as nursery:
        server = DriverServer(name, lambda: load(name), nursery, page=page)
        hello = Hello(info={"driver": name, "pid": str(os.getpid())})
        link = Duplex(Peer(DRIVER_LIMITS, hello), transport, server, anyio.Event)
        await run(link)
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await server.close()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a thread that still loads a model must not keep a host whose kernel is gone

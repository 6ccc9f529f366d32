"""The worker: the OS process in a jail in which programs and tools run, at the other end of one socket."""

import signal
import socket
import sys

import trio

from syscalls.limits import CLIENT_LIMITS
from syscalls.peer import Peer
from syscalls.wire import Hello
from userland import lookup
from userland.printing import captured
from userland.serving import serve_socket


def main(fd: int, payload: bytes = b"") -> int:
    """Serves the kernel on the connected socket `fd` until it hangs up; the exit status of the worker.

    HELLO goes out by blocking code, before a loop is started: the kernel learns as early as can be that the worker
    lives. `payload` is not used.
    """
    sock = socket.socket(fileno=fd)
    peer = greet(sock, "worker")
    if peer is None:
        return 1
    lookup.install()
    with captured():
        trio.run(serve_socket, sock, peer)
    return 0


def greet(sock: socket.socket, role: str) -> Peer | None:
    """Says HELLO as `role` and leaves Ctrl-C to the kernel, which turns it into signals of ours; None if it is gone."""
    peer = Peer(CLIENT_LIMITS, Hello(info={"role": role}))
    try:
        sock.sendall(peer.outbox)
    except OSError:
        return None
    peer.outbox.clear()
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
    return peer


if __name__ == "__main__":
    assert sys.argv[1] == "--fd", "usage: python -m userland.worker --fd N"
    sys.exit(main(int(sys.argv[2])))

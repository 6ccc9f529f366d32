"""The worker: the OS process in a jail in which programs and tools run, at the other end of one socket."""

import signal
import socket
import sys

import trio

from syscalls.limits import CLIENT_LIMITS
from syscalls.peer import Peer
from syscalls.wire import Hello
from userland.printing import captured
from userland.serving import serve_socket


def main(fd: int, payload: bytes = b"") -> int:
    """Serves the kernel on the connected socket `fd` until it hangs up; the exit status of the worker.

    HELLO goes out by blocking code, before a loop is started: the kernel learns as early as can be that the worker
    lives. `payload` is not used.
    """
    peer = Peer(CLIENT_LIMITS, Hello(info={"role": "worker"}))
    sock = socket.socket(fileno=fd)
    try:
        sock.sendall(peer.outbox)
    except OSError:
        return 1
    peer.outbox.clear()
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the kernel's to turn into signals of ours
    except (OSError, ValueError):
        pass

    with captured():
        trio.run(serve_socket, sock, peer)
    return 0


if __name__ == "__main__":
    assert sys.argv[1] == "--fd", "usage: python -m userland.worker --fd N"
    sys.exit(main(int(sys.argv[2])))

"""The process that makes supervisors: `python -m drivers.mediation --fd N`. Its imports are done, and it forks one for
each worker that it is told of; it holds nothing of theirs. It ends with the kernel."""

import argparse
import gc
import os
import signal
import socket
import sys
import traceback

import msgspec

from drivers.mediation.control import Hangup
from drivers.mediation.supervisor import Supervisor
from drivers.tether import follow_parent_by_signal
from syscalls.mediation import MESSAGE_BYTES_MAX, SERVE_FDS, Serve

_FDS_MAX = len(SERVE_FDS)
_decode = msgspec.msgpack.Decoder(Serve).decode


def main() -> int:
    """Serves on an inherited SEQPACKET socket until the kernel hangs up."""
    parser = argparse.ArgumentParser(prog="python -m drivers.mediation", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="a connected AF_UNIX SEQPACKET socket, inherited")
    chosen = parser.parse_args()
    follow_parent_by_signal(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for supervisors: the machine reaps them
    host = socket.socket(fileno=chosen.fd)
    gc.collect()
    gc.freeze()
    while True:
        data, fds, _, _ = socket.recv_fds(host, MESSAGE_BYTES_MAX, _FDS_MAX)
        if not data:
            return 0
        if len(fds) == _FDS_MAX and os.fork() == 0:
            host.close()
            os._exit(_supervise(data, fds))
        for fd in fds:
            os.close(fd)


def _supervise(data: bytes, fds: list[int]) -> int:
    """One worker, to its end; the exit status."""
    control, notify, root, pidfd = fds
    try:
        with socket.socket(fileno=control) as sock:
            Supervisor(_decode(data), control=sock, notify=notify, root=root, pidfd=pidfd).run()
    except Hangup:
        return 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The process that makes supervisors for workers of the tier `files`: started when the first is needed, and again when
it died; the supervisors that it made live on."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final, final

import msgspec
import trio

from kernel.watch.trace import Trace
from syscalls.errors import IOFailed
from syscalls.mediation import Serve

_TRIES: Final = 3
_encode: Final = msgspec.msgpack.Encoder().encode


@final
class Mediator:
    """Named as a string, never imported. Its output goes into a log file."""

    def __init__(self, trace: Trace, log_file: Path) -> None:
        self._trace = trace
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None

    def serve(self, told: Serve, *, notify: int, root: int, pidfd: int) -> socket.socket:
        """Has a worker supervised; the kernel's end of its control socket. Raises IOFailed (EIO)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            for _ in range(_TRIES):
                try:
                    if self._sock is None:
                        self._sock = self._start()
                    fds = [theirs.fileno(), notify, root, pidfd]
                    socket.send_fds(self._sock, [_encode(told)], fds, socket.MSG_DONTWAIT)
                except OSError as failed:
                    why = failed
                    self._drop()
                else:
                    ours.setblocking(False)
                    return ours
        ours.close()
        raise IOFailed(f"nobody supervises plain files: {why}; see {self._log_file}")

    async def aclose(self) -> None:
        """Ends it; supervisors end with their workers."""
        await trio.lowlevel.checkpoint()
        self._drop()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._log_file.parent.mkdir(parents=True, exist_ok=True)
                with self._log_file.open("ab") as log:
                    self._process = subprocess.Popen(
                        [sys.executable, "-m", "drivers.mediation", "--fd", str(theirs.fileno())],
                        pass_fds=[theirs.fileno()],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env={"PYTHONUNBUFFERED": "1", **os.environ},
                        start_new_session=True,  # a Ctrl-C at the terminal is the kernel's to handle
                    )
            except OSError:
                ours.close()
                raise
        self._trace.event("mediator_ready", host=self._process.pid)
        return ours

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._process is not None:
            self._trace.event("mediator_ended", host=self._process.pid)
            self._process.kill()
            self._process.wait()
            self._process = None

"""What is typed, or piped in, while a program runs: sent to it line by line from a thread of its own."""

import os
import select
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from msgspec import Raw

from syscalls.calls import message
from syscalls.codec import pack
from syscalls.errors import SyscallError
from syscalls.link.blocking import BlockingLink
from userland.cli.session import Session

if TYPE_CHECKING:
    from syscalls.link.lasting import LastingSocket

TOPIC = "stdin"
_READ_BYTES = 64 * 1024
_LINE_BYTES_MAX = 32 * 1024


@final
class TypedIn:
    """Sends the lines of stdin to process `pid` until `stop`; the end of input is a message of nothing.

    It has a link of its own, made when there is something to send: a full mailbox makes it wait, and the program's
    output must go on meanwhile. A line that somebody else `takes` is not sent. Reads the descriptor, not `sys.stdin`:
    a line that nobody took is left for the shell.
    """

    def __init__(self, session: Session, pid: int, *, takes: Callable[[bytes], bool] = lambda line: False) -> None:
        self._session = session
        self._pid = pid
        self._takes = takes
        self._link: BlockingLink | None = None
        self._socket: socket.socket | LastingSocket | None = None
        self._over = False
        self._stopping, self._stopped = os.pipe()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to read; where there is no stdin for programs, its end is all that is sent."""
        fd: int | None = None
        if self._session.typed:
            try:
                fd = sys.stdin.fileno()
            except (AttributeError, ValueError, OSError):
                pass
        self._thread = threading.Thread(target=self._run, args=(fd,), name="stdin", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops reading; what was not sent is lost."""
        os.close(self._stopped)
        self._over = True  # before the look at the socket: whoever connects looks the other way round
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes a send that waits for room in the mailbox
            except OSError:
                pass
        if self._thread is not None:
            self._thread.join()
        os.close(self._stopping)

    def _run(self, fd: int | None) -> None:
        try:
            if fd is None:
                self._send(None)
            else:
                self._pump(fd)
        except (SyscallError, OSError):  # the program has ended, or the kernel: the follower tells
            pass
        finally:
            if self._link is not None:
                self._link.close()

    def _pump(self, fd: int) -> None:
        rest = b""
        while True:
            ready, _, _ = select.select([fd, self._stopping], [], [])
            if self._stopping in ready:
                return
            data = os.read(fd, _READ_BYTES)
            if not data:
                if rest:
                    self._send(rest)
                self._send(None)
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if not self._takes(line):
                    self._send(line + b"\n")
            if len(rest) > _LINE_BYTES_MAX:
                self._send(rest)
                rest = b""

    def _send(self, line: bytes | None) -> None:
        text = None if line is None else line.decode("utf-8", "replace")
        if self._link is None:
            self._socket = self._session.connect_socket()
            self._link = BlockingLink(self._socket)
        if self._over:
            return
        self._link.call(message.SEND, message.Send(pid=self._pid, body=Raw(pack(text)), topic=TOPIC))

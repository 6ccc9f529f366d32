"""Asking the person at the terminal for rights that the followed program lacks."""

import socket
import sys
import termios
import threading
from collections import deque
from typing import TYPE_CHECKING, final

from syscalls.calls import capability, process
from syscalls.calls.capability import RequestInfo
from syscalls.errors import SyscallError
from syscalls.link.blocking import BlockingLink
from userland.cli.failures import say
from userland.cli.session import Session
from userland.cli.table import clean

if TYPE_CHECKING:
    from syscalls.link.lasting import LastingSocket

_YES, _NO, _ALWAYS = frozenset({"y", "yes"}), frozenset({"n", "no"}), frozenset({"a", "always"})


@final
class Asker:
    """Shows each request of process `pid` and those below it, and takes the next line that is typed as the answer.

    What was typed before the question was shown is thrown away: nobody agrees to what they have not read. A right that
    was refused once is refused for the rest of the run. `lasting` offers an answer for good.
    """

    def __init__(self, session: Session, pid: int, *, lasting: bool) -> None:
        self._session = session
        self._pid = pid
        self._lasting = lasting
        self._open: deque[RequestInfo] = deque()
        self._refused: set[str] = set()
        self._lock = threading.Lock()
        self._socket: socket.socket | LastingSocket | None = None
        self._thread = threading.Thread(target=self._listen, name="requests", daemon=True)
        self._stopped = False

    def start(self) -> None:
        """Begins to listen."""
        self._socket = self._session.connect_socket()
        self._thread.start()

    def stop(self) -> None:
        """No more questions."""
        self._stopped = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._thread.join()

    def takes(self, line: bytes) -> bool:
        """Whether a typed line is the answer to an open question; then it is not the program's."""
        with self._lock:
            if not self._open:
                return False
            word = line.decode("utf-8", "replace").strip().lower()
            if word not in _YES | _NO and not (self._lasting and word in _ALWAYS):
                self._ask(self._open[0])
                return True
            info = self._open.popleft()
            self._answer(info, allow=word not in _NO, always=word in _ALWAYS)
            if self._open:
                self._ask(self._open[0])
            return True

    def _listen(self) -> None:
        assert self._socket is not None
        try:
            with BlockingLink(self._socket) as link:
                for info in link.stream(capability.REQUESTS, capability.ListRequests(follow=True)):
                    if info.state == "pending" and info.waiting and self._ours(info.pid):
                        self._came(info)
        except (SyscallError, OSError):  # the kernel has gone, or the program has ended
            pass

    def _came(self, info: RequestInfo) -> None:
        with self._lock:
            if info.right in self._refused:
                self._answer(info, allow=False, always=False)
                return
            if any(each.request == info.request for each in self._open):
                return
            self._open.append(info)
            if len(self._open) == 1:
                forget_typed()
                self._ask(info)

    def _ask(self, info: RequestInfo) -> None:
        reason = f" ({info.reason})" if info.reason else ""
        say(clean(f"process {info.pid} ({info.name}) asks for '{info.right}'{reason}"))
        always = ", [a]lways" if self._lasting else ""
        print(f"allow it? [y]es, [n]o{always}: ", end="", file=sys.stderr, flush=True)

    def _answer(self, info: RequestInfo, *, allow: bool, always: bool) -> None:
        if not allow:
            self._refused.add(info.right)
        try:
            with self._session.connect() as link:
                answer = capability.Answer(request=info.request, allow=allow, always=always)
                link.call(capability.ANSWER, answer)
        except SyscallError as late:
            if not self._stopped:
                say(late.message)

    def _ours(self, pid: int) -> bool:
        if pid == self._pid:
            return True
        with self._session.connect() as link:
            listed: process.Processes = link.call(process.LIST, process.ListProcesses(all=True))
        parents = {info.pid: info.ppid for info in listed.processes}
        while pid in parents and pid != self._pid:
            pid = parents[pid]
        return pid == self._pid


def can_ask() -> bool:
    """Whether a person is at both ends: reads what is asked, and types the answer."""
    return _terminal(sys.stdin) and _terminal(sys.stderr)


def _terminal(stream: object) -> bool:
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return False


def forget_typed() -> None:
    """Throws away what was typed before it could be read what to answer."""
    try:
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    except (OSError, ValueError, termios.error):
        pass

"""Following a process from its spawn to its exit: its output, what is typed at it, Ctrl-C."""

import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from syscalls.calls import process
from syscalls.calls.process import Exit
from syscalls.errors import BrokenPipe, NoSuchProcess, SyscallError
from syscalls.link.blocking import BlockingLink
from syscalls.signals import Signal
from userland.cli.asking import Asker
from userland.cli.commands.logs import show_piece
from userland.cli.failures import say
from userland.cli.session import Session
from userland.cli.stdin import TypedIn

_TAIL_PIECES = 2000
_KEPT_CHARS = 64 * 1024


@final
class Followed:
    """How a process ended, the end of what it had printed, and whether somebody pressed Ctrl-C."""

    def __init__(self) -> None:
        self.exit: Exit | None = None
        self.printed = ""
        self.interrupted = False


def follow(session: Session, link: BlockingLink, pid: int, *, data: bool, asker: Asker | None = None) -> Followed:
    """Shows the output of child `pid` until it ends, then reaps it. With `data` its stdout is ours, else stderr is.
    `asker` takes the lines that are answers to what the child asks."""
    seen = Followed()
    typed = TypedIn(session, pid) if asker is None else TypedIn(session, pid, takes=asker.takes)
    with _interrupts(session, pid, seen):
        if asker is not None:
            asker.start()
        typed.start()
        try:
            for line in link.stream(process.LOGS, process.Logs(pid=pid, follow=True, tail=_TAIL_PIECES)):
                show_piece(line, data=data)
                if line.stream == "stdout":
                    seen.printed = (seen.printed + line.text)[-_KEPT_CHARS:]
            seen.exit = link.call(process.WAIT, process.Wait(pid=pid))
        finally:
            typed.stop()
            if asker is not None:
                asker.stop()
    return seen


@contextmanager
def _interrupts(session: Session, pid: int, seen: Followed) -> Iterator[None]:
    """The first Ctrl-C is TERM to the process, which goes on being followed; the second is KILL.

    A thread hears them: a handler runs when the receive that we are in returns, and a Ctrl-C that comes just before
    the receive does not cut it short (PEP 475).
    """
    heard, woken = socket.socketpair()
    woken.setblocking(False)
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    waker = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=_listen, args=(heard, session, pid, seen), name="interrupts", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGINT, before)
        woken.close()
        listener.join()
        heard.close()


def _listen(heard: socket.socket, session: Session, pid: int, seen: Followed) -> None:
    while number := heard.recv(1):
        if number[0] != signal.SIGINT:
            continue
        wanted = Signal.KILL if seen.interrupted else Signal.TERM
        seen.interrupted = True
        _send(session, pid, wanted)
        if wanted is Signal.TERM and sys.stderr.isatty():
            say("asked to end; Ctrl-C again ends it at once")


def _send(session: Session, pid: int, wanted: Signal) -> None:
    """Over a link of its own: the other one is in the middle of a stream."""
    try:
        with session.connect() as link:
            link.call(process.KILL, process.Kill(pid=pid, signal=int(wanted)))
    except (NoSuchProcess, BrokenPipe):  # it has ended meanwhile, or the kernel has
        pass
    except (SyscallError, OSError) as refused:  # what a thread raises nobody hears, nor a Ctrl-C after that
        say(f"process {pid} was not told to end: {getattr(refused, 'message', refused)}")

"""A command at this terminal, or between these pipes: its streams, its signals, its exit code."""

import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
import tty as terminals
from collections.abc import Iterator
from typing import Any

import trio
from msgspec.structs import replace

from syscalls.calls import command, process
from syscalls.calls.process import Exit
from syscalls.errors import BrokenPipe, SyscallError
from syscalls.signals import Signal
from userland.cli.failures import OK, say
from userland.cli.output import write
from userland.cli.session import Session
from userland.sdk.connect import connect
from userland.sdk.pipe import Pipe
from userland.sdk.system import Sys

_PIECE_BYTES = 64 * 1024
_SIGNALS = {signal.SIGINT: Signal.INT, signal.SIGTERM: Signal.TERM, signal.SIGHUP: Signal.TERM}
_ENDED = {"killed": "was killed", "terminated": "was terminated", "timed_out": "ran out of time"}


def run_detached(session: Session, asked: command.Exec) -> int:
    """Starts it and prints its pid."""
    with session.link() as link:
        pid = link.call(command.EXEC, asked).pid
    write(f"{pid}\n")
    return OK


def run_attached(session: Session, asked: command.Exec, *, tty: bool | None) -> int:
    """Runs it with the streams of this OS process; its exit code. `tty` None: a terminal of its own if this is one."""
    here = sys.stdin.isatty() and sys.stdout.isatty()
    if tty is None:
        tty = here
    size = _size(sys.stdout.fileno()) if here else command.Terminal(rows=24, columns=80)
    if tty:
        env = {"TERM": os.environ.get("TERM", "xterm"), **asked.env}
        asked = replace(asked, terminal=size, env=env)
    with _raw(sys.stdin.fileno()) if tty and sys.stdin.isatty() else contextlib.nullcontext():
        ended = _run(session, asked)
    if ended.status in _ENDED:
        say(f"process {ended.pid} {_ENDED[ended.status]}")
    elif ended.status != "done" and (ended.code in (126, 127) or ended.status != "failed"):
        say(ended.error)
    return ended.code


def _run(session: Session, asked: command.Exec) -> Exit:
    """Raises the SyscallError that it failed with, whichever of the tasks met it first."""
    try:
        return trio.run(_attached, session, asked)
    except BaseExceptionGroup as group:
        failed: BaseException = group
        while isinstance(failed, BaseExceptionGroup):
            failed = failed.exceptions[0]
        raise failed from None


async def _attached(session: Session, asked: command.Exec) -> Exit:
    where: dict[str, Any] = {"host": session.host} if session.host else {"path": session.path}
    async with connect(**where) as sys_:
        stdin, stdout = await sys_.pipe(), await sys_.pipe()
        stderr = None if asked.terminal is not None else await sys_.pipe()
        asked = replace(asked, stdin=stdin.id, stdout=stdout.id, stderr=None if stderr is None else stderr.id)
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(*_SIGNALS, signal.SIGWINCH) as came:
                pid = (await sys_.call(command.EXEC, asked)).pid
                nursery.start_soon(_signals, sys_, pid, came, asked.terminal is not None)
                nursery.start_soon(_feed, stdin)
                async with trio.open_nursery() as outputs:
                    outputs.start_soon(_show, stdout, 1)
                    if stderr is not None:
                        outputs.start_soon(_show, stderr, 2)
                ended: Exit = await sys_.call(process.WAIT, process.Wait(pid=pid))
            nursery.cancel_scope.cancel()
        return ended
    raise AssertionError("unreachable")


async def _feed(pipe: Pipe) -> None:
    """What comes at our standard input, until its end or the command's."""
    with contextlib.suppress(BrokenPipe):
        while data := await trio.to_thread.run_sync(_read_stdin, abandon_on_cancel=True):
            await pipe.write(data)
    with contextlib.suppress(SyscallError):
        await pipe.close("writer")


def _read_stdin() -> bytes:
    try:
        return os.read(0, _PIECE_BYTES)
    except OSError:
        return b""


async def _show(pipe: Pipe, fd: int) -> None:
    """What it writes, in whole; a reader of ours that has gone is gone for it too."""
    try:
        while data := await pipe.read(_PIECE_BYTES):
            await trio.to_thread.run_sync(_write_all, fd, data)
    except OSError as failed:
        if isinstance(failed, SyscallError):
            raise
        await pipe.close("reader")


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


async def _signals(sys_: Sys, pid: int, came: Any, terminal: bool) -> None:
    async for number in came:
        with contextlib.suppress(SyscallError):  # it has ended meanwhile
            if number == signal.SIGWINCH:
                if terminal and sys.stdout.isatty():
                    size = _size(sys.stdout.fileno())
                    await sys_.call(command.RESIZE, command.Resize(pid=pid, rows=size.rows, columns=size.columns))
            else:
                await sys_.call(process.KILL, process.Kill(pid=pid, signal=int(_SIGNALS[number])))


def _size(fd: int) -> command.Terminal:
    rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    return command.Terminal(rows=rows or 24, columns=columns or 80)


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    """Keys go to the command's terminal as they are pressed: what they mean is decided there."""
    before = termios.tcgetattr(fd)
    terminals.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)

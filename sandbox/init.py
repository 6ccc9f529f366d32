"""The first process of a command's pid namespace: opens its door, executes it, reaps, hands signals on.

It speaks with the kernel over its socket: it sends the listening socket of the door (and the terminal, where there
is one) as descriptors, waits for one byte, and executes. From then on each byte that comes is a signal, and what it
sends at the end is an `Ended`. When it goes, by itself or with the kernel, the system ends all that is in its
namespace. It stands behind the same walls as the command, and holds nothing that the command could want.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
from typing import Final, NoReturn, final

import msgspec

from sandbox import libc
from sandbox.messages import Ended
from sandbox.spec import CommandSpec

GO: Final = 0
"""The byte that starts the command; any other is a signal's number."""

STDIO_FDS: Final = (6, 7, 8)
"""Where a command without a terminal finds what will be its 0, 1 and 2."""

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_IFREQ: Final = struct.Struct("16sh14x")
_BACKLOG: Final = 128
_TIOCSPTLCK: Final = 0x40045431
_TIOCGPTN: Final = 0x80045430
_CANNOT_EXECUTE, _NOT_FOUND = 126, 127

_encode: Final = msgspec.msgpack.Encoder().encode


@final
class Opened:
    """What the command's first process opens in its namespaces: the door's socket, and (`size` is rows and columns) a
    terminal, of which this is our end and its name."""

    def __init__(self, size: tuple[int, int] | None) -> None:
        self.door = _open_door()
        self.terminal, self.terminal_name = _open_terminal(size) if size is not None else (-1, "")


def _open_door() -> socket.socket:
    """Brings the loopback of this network namespace up, and listens there on a port that is free: all are."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name, flags = _IFREQ.unpack(fcntl.ioctl(control, _SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0)))
        fcntl.ioctl(control, _SIOCSIFFLAGS, _IFREQ.pack(name, flags | _IFF_UP))
    return socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)


def _open_terminal(size: tuple[int, int]) -> tuple[int, str]:
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("I", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))[0]
    return master, f"/dev/pts/{number}"


def run(spec: CommandSpec, sock_fd: int, opened: Opened) -> NoReturn:
    """Executes the command when told to, and ends when it has ended."""
    kernel = socket.socket(fileno=sock_fd)
    port = opened.door.getsockname()[1]
    terminal = opened.terminal_name
    with opened.door as door:
        socket.send_fds(kernel, [b"d"], [door.fileno(), *((opened.terminal,) if terminal else ())])
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if kernel.recv(1) != bytes((GO,)):
        os._exit(_CANNOT_EXECUTE)
    pid, failed = _start(spec, port, terminal)
    for fd in (opened.terminal,) if terminal else STDIO_FDS:
        os.close(fd)
    _serve(kernel, woken, pid, failed)


def _serve(kernel: socket.socket, woken: int, pid: int, failed: int) -> NoReturn:
    said = b""
    while True:
        ended = _reap(pid)
        if ended is not None:
            status, cpu_s = ended
            said = said or os.read(failed, 256)
            kernel.sendall(_encode(msgspec.structs.replace(_ended(status, said), cpu_s=cpu_s)))
            os._exit(0)
        ready, _, _ = select.select([kernel.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
        if kernel.fileno() in ready:
            numbers = kernel.recv(256)
            if not numbers:  # the kernel is gone
                os._exit(0)
            for number in numbers:
                _hand_on(pid, number)


def _hand_on(pid: int, number: int) -> None:
    """STOP, CONT and KILL are for all that run here, any other signal for the command's own group."""
    try:
        if number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL):
            os.kill(-1, number)
        elif os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:  # it has no group of its own yet
            os.kill(pid, number)
    except OSError:  # it has just ended
        pass


def _reap(pid: int) -> tuple[int, float] | None:
    """Takes the status of all that have ended; that of the command, if it has, and the processor time it used."""
    found = None
    while True:
        try:
            ended, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not ended:
            return found
        if ended == pid:
            found = status, used.ru_utime + used.ru_stime


def _ended(status: int, said: bytes) -> Ended:
    if said:
        number = int(said)
        return Ended(code=_NOT_FOUND if number == errno.ENOENT else _CANNOT_EXECUTE, failed=os.strerror(number))
    if os.WIFSIGNALED(status):
        return Ended(signal=os.WTERMSIG(status))
    return Ended(code=os.WEXITSTATUS(status))


def _start(spec: CommandSpec, port: int, terminal: str) -> tuple[int, int]:
    """The command's pid, and a pipe that says the errno if it could not be executed."""
    failed, fails = os.pipe2(os.O_CLOEXEC)
    # Until it is executed, signals wait for it: they are its, and must not meet what this process does with them.
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        try:
            _become(spec, port, terminal)
        except OSError as error:
            os.write(fails, str(error.errno).encode())
        except BaseException:
            os.write(fails, str(errno.EINVAL).encode())
        os._exit(_CANNOT_EXECUTE)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.close(fails)
    return pid, failed


def _become(spec: CommandSpec, port: int, terminal: str) -> NoReturn:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    os.setsid()
    if terminal:
        fd = os.open(terminal, os.O_RDWR)  # it becomes the session's terminal: it is its first
        fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
        fds: tuple[int, ...] = (fd, fd, fd)
    else:
        fds = STDIO_FDS
    for place, fd in enumerate(fds):
        os.dup2(fd, place)
    os.chdir(spec.cwd)
    door = {name: value.replace("{port}", str(port)) for name, value in spec.door_env.items()}
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execve(spec.path, spec.argv, {**spec.env, **door})

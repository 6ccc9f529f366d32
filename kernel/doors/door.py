"""The front door: the unix socket on which local clients call, each connection a session process of its principal."""

import errno
import os
import pwd
import socket
import stat
from pathlib import Path
from typing import final

import trio

from kernel.doors.caller import caller_of
from kernel.doors.guest import Guests, turn_away
from kernel.doors.session import Sessions
from kernel.loop import TRIO
from kernel.machine import Machine
from kernel.permission import OPERATOR
from syscalls.errors import BrokenPipe, Busy, Invalid, IOFailed, NoSyscall, SyscallError
from syscalls.limits import CLIENT_LIMITS
from syscalls.link.pump import RECEIVE_BYTES
from syscalls.link.transport import SocketTransport
from syscalls.paths import SOCKET_BYTES_MAX
from syscalls.wire import FrameBuffer, Hello, WireError, decode

_BACKLOG = 128


@final
class Door:
    """Listens and answers. Only the uid that runs the kernel, and root, may enter; they are the operator."""

    def __init__(self, machine: Machine, sessions: Sessions, guests: Guests) -> None:
        self._machine = machine
        self._sessions = sessions
        self._guests = guests
        self._open = 0

    async def listen(self, path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves connections until cancelled, then removes the socket. Raises as `bind_socket` does."""
        sock = await bind_socket(path)
        try:
            async with trio.open_nursery() as nursery:
                listener = trio.SocketListener(sock)
                nursery.start_soon(trio.serve_listeners, self._answer, [listener])
                task_status.started()
        finally:
            path.unlink(missing_ok=True)

    async def _answer(self, stream: trio.SocketStream) -> None:
        sock = socket.socket(fileno=stream.socket.detach())
        connection = SocketTransport(sock, TRIO)
        self._open += 1
        try:
            try:
                pid, uid = caller_of(sock)
            except (NoSyscall, BrokenPipe) as unknown:
                await turn_away(connection, str(unknown))
                return
            reason = self._unwelcome(uid)
            if reason:
                await turn_away(connection, reason)
            else:
                await self._greet(connection, pid, _user_name(uid))
        finally:
            self._open -= 1

    def _unwelcome(self, uid: int) -> str:
        if uid not in (0, os.getuid()):
            return f"EPERM: this kernel belongs to uid {os.getuid()}"
        bound = self._machine.config.bounds.sessions_max
        if self._open - len(self._machine.admissions.guests) > bound:
            return f"EAGAIN: {bound} sessions are open: close some, or raise bounds.sessions_max"
        return ""

    async def _greet(self, connection: SocketTransport, pid: int, user: str) -> None:
        """A HELLO with a ticket is a guest's; any other is the operator's, and so is what is no HELLO, until its link
        says so. The gateway has no session on this socket: only guests come through it."""
        handshake_s = self._machine.config.bounds.handshake_s
        with trio.move_on_after(handshake_s) as limit:
            hello, said = await _first_words(connection)
        if limit.cancelled_caught:
            await turn_away(connection, f"no HELLO in {handshake_s:g} s")
            return
        admissions = self._machine.admissions
        if hello is not None and hello.credential:
            identity = admissions.redeem(hello.credential)
            if identity is None:
                await turn_away(connection, "EPERM: that ticket is none, or was used, or came too late")
            else:
                await self._guests.enter(connection, hello, said, identity)
        elif pid == admissions.gateway:
            await turn_away(connection, "EPERM: the gateway lets others in and has no session of its own")
        else:
            connection.unread(said)
            await self._local(connection, user)

    async def _local(self, connection: SocketTransport, user: str) -> None:
        try:
            process = self._sessions.open(user, OPERATOR)
        except SyscallError as full:
            await turn_away(connection, str(full))
            return
        try:
            await self._sessions.serve(process, self._sessions.link(process, connection))
        finally:
            connection.close()


async def _first_words(connection: SocketTransport) -> tuple[Hello | None, bytes]:
    """The HELLO that a connection begins with, None where it begins with anything else, and all that was read."""
    buffer = FrameBuffer(CLIENT_LIMITS.frame_bytes_max)
    said = b""
    while True:
        try:
            data = await connection.receive_some(RECEIVE_BYTES)
        except OSError:
            data = b""
        said += data
        try:
            for body in buffer.feed(data):
                first = decode(body)
                return (first if isinstance(first, Hello) else None), said
        except WireError:
            return None, said
        if not data:
            return None, said


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid{uid}"


async def bind_socket(path: Path) -> trio.socket.SocketType:
    """A listening socket at `path`, mode 0600, in a folder made for it (0700).

    A socket that a dead kernel left is taken over. Raises Invalid for a path that is too long, Busy (EBUSY) when a
    live kernel answers there, IOFailed when the folder cannot be used or something else lies there.
    """
    if len(os.fsencode(path)) > SOCKET_BYTES_MAX:
        raise Invalid(f"{path}: a socket path has at most {SOCKET_BYTES_MAX} bytes; choose a shorter one with --socket")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await _clear(path)
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            await sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(_BACKLOG)
    except OSError as failed:
        raise IOFailed(f"cannot listen at {path}: {failed.strerror or failed}; choose another with --socket") from None
    return sock


async def _clear(path: Path) -> None:
    """Removes what a dead kernel left."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise IOFailed(f"{path} is there and is no socket: move it away, or choose another with --socket")
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            await probe.connect(str(path))
        except OSError as dead:
            if dead.errno not in (errno.ECONNREFUSED, errno.ENOENT):
                raise
            path.unlink(missing_ok=True)
            return
    raise Busy(f"a kernel is answering at {path}: 'kernos down' stops it, --socket starts another beside it")

"""The front door: the unix socket on which local clients call, each connection a session process of its principal."""

import errno
import os
import pwd
import socket
import stat
import struct
from pathlib import Path
from typing import final

import trio

from kernel.exec import Executor
from kernel.link import Entrance, KernelLink
from kernel.loop import TRIO
from kernel.machine import Machine
from kernel.panic import contain
from kernel.permission import OPERATOR
from kernel.process import Process
from kernel.version import VERSION
from syscalls.calls.process import Exit
from syscalls.errors import Busy, Invalid, IOFailed, SyscallError
from syscalls.link.transport import SocketTransport
from syscalls.paths import SOCKET_BYTES_MAX
from syscalls.wire import Bye, Hello, encode

_CREDENTIALS = struct.Struct("3i")
_BACKLOG = 128
_FAREWELL_S = 0.5


@final
class Session:
    """One connection: channel 0 is its process, which ends with it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def process_on(self, channel: int) -> Process | None:
        return self._process if channel == 0 and self._process.exit is None else None


@final
class Door:
    """Listens and answers. Only the uid that runs the kernel, and root, may enter; they are the operator."""

    def __init__(self, machine: Machine, gate: Entrance, init: Process) -> None:
        self._machine = machine
        self._gate = gate
        self._init = init
        self._sessions = 0
        self._links: set[KernelLink] = set()

    async def farewell(self) -> None:
        """Tells every client that the machine stops, behind what it is still owed; waits a moment for them."""
        for link in self._links:
            link.wire.bye("the kernel stops")
        with trio.move_on_after(_FAREWELL_S):
            while any(link.wire.peer.outbox for link in self._links):  # noqa: ASYNC110 (the outbox is plain bytes)
                await trio.sleep(0.001)

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
        _, uid, _ = _CREDENTIALS.unpack(
            stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        reason = self._unwelcome(uid)
        if reason:
            await _refuse(stream, reason)
            return
        self._sessions += 1
        try:
            await self._serve(stream, _user_name(uid))
        finally:
            self._sessions -= 1

    def _unwelcome(self, uid: int) -> str:
        if uid not in (0, os.getuid()):
            return f"EPERM: this kernel belongs to uid {os.getuid()}"
        bound = self._machine.config.bounds.sessions_max
        if self._sessions >= bound:
            return f"EAGAIN: {bound} sessions are open: close some, or raise bounds.sessions_max"
        return ""

    async def _serve(self, stream: trio.SocketStream, user: str) -> None:
        machine = self._machine
        account = machine.accounts.open(machine.ledger.account(user), name=f"session:{user}", principal=user)
        try:
            process = machine.processes.add(
                parent=self._init, principal=user, kind="session", name="session", account=account, rights=OPERATOR
            )
        except SyscallError as full:
            machine.accounts.close(account)
            await _refuse(stream, str(full))
            return
        reason = ""
        hello = Hello(info={"kernos": VERSION, "pid": str(process.pid)})
        transport = SocketTransport(socket.socket(fileno=stream.socket.detach()), TRIO)
        link = KernelLink(transport, self._gate, Session(process), hello=hello)
        self._links.add(link)
        try:
            with trio.CancelScope() as scope:
                process.stop_scope = scope
                reason = await link.run(handshake_s=machine.config.bounds.handshake_s)
        except Exception as bug:
            reason = contain(bug)
            machine.trace.event("bug", pid=process.pid, error=repr(bug))
        finally:
            self._links.discard(link)
            transport.close()
            self._leave(process, machine.executor, reason)

    def _leave(self, process: Process, executor: Executor, reason: str) -> None:
        machine = self._machine
        machine.contexts.release(process)
        executor.orphan(process)
        machine.accounts.close(process.account)
        machine.processes.ended(process, Exit(pid=process.pid, status="done", error=reason))


async def _refuse(stream: trio.SocketStream, reason: str) -> None:
    async with stream:
        try:
            await stream.send_all(encode(Hello()) + encode(Bye(reason)))
        except trio.BrokenResourceError:
            pass


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

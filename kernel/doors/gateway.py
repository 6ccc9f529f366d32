"""The gateway's OS process: it ends TLS for clients from elsewhere, on a socket that the kernel bound. Started, watched
and started again here; named as a string, never imported."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import final

import trio

from kernel.doors.session import Sessions
from kernel.loop import TRIO
from kernel.machine import Machine
from syscalls.errors import IOFailed, SyscallError
from syscalls.link.transport import SocketTransport
from syscalls.paths import parse_address
from syscalls.rights import Right

RIGHTS = (Right("kernel:sessions", ("admit",)),)
"""All that the gateway may do of itself."""
_BACKLOG = 256
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.1, 10.0
_LIVED_S = 5.0


def bind(address: str) -> socket.socket:
    """A listening TCP socket. Raises Invalid (EINVAL) for what is no address, IOFailed (EIO) where it cannot be had."""
    host, port = parse_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as failed:
        raise IOFailed(
            f"cannot listen at {address}: {getattr(failed, 'strerror', None) or failed}; choose another with --listen"
        ) from None


def shown(listening: socket.socket) -> str:
    """The address that a socket was bound to."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@final
class Gateway:
    """Keeps one gateway running. While there is none, connections wait at the socket."""

    def __init__(self, machine: Machine, sessions: Sessions, listening: socket.socket) -> None:
        self._machine = machine
        self._sessions = sessions
        self._listening = listening
        machine.listening = shown(listening)

    async def run(self) -> None:
        """Until cancelled; a gateway that dies is started again, later each time if it lives but shortly."""
        pause_s = _PAUSE_S_MIN
        with self._listening:
            while True:
                began = self._machine.clock.now()
                why = await self._live()
                lived_s = self._machine.clock.now() - began
                pause_s = _PAUSE_S_MIN if lived_s > _LIVED_S else min(2 * pause_s, _PAUSE_S_MAX)
                self._machine.trace.event("gateway_lost", reason=why, log=str(self._log), again_in_s=pause_s)
                await trio.sleep(pause_s)

    @property
    def _log(self) -> Path:
        return self._machine.config.state_folder / "logs" / "gateway.log"

    async def _live(self) -> str:
        """One life; why it ended."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child = await self._start(theirs)
        except OSError as failed:
            ours.close()
            return f"it cannot be started: {failed}"
        try:
            self._machine.admissions.gateway = child.pid
            self._machine.trace.event("gateway", os_pid=child.pid, address=self._machine.listening)
            await self._serve(ours)
            return f"its link ended; OS process {child.pid}"
        finally:
            self._machine.admissions.gateway = 0
            child.kill()
            with trio.CancelScope(shield=True):
                await child.wait()

    async def _serve(self, ours: socket.socket) -> None:
        transport = SocketTransport(ours, TRIO)
        try:
            process = self._sessions.open("kernel", RIGHTS, name="gateway")
            link = self._sessions.link(process, transport)
            await self._sessions.serve(process, link, handshake_s=self._machine.config.bounds.host_ready_s)
        except SyscallError:  # no room in the process table: later, then
            pass
        finally:
            transport.close()

    async def _start(self, theirs: socket.socket) -> trio.Process:
        config = self._machine.config
        self._log.parent.mkdir(parents=True, exist_ok=True)
        words = [
            *(sys.executable, "-P", "-m", "userland.gateway"),
            *("--kernel-fd", str(theirs.fileno()), "--listen-fd", str(self._listening.fileno())),
            *("--socket", str(config.socket_file), "--state", str(config.state_folder)),
            *("--connections-max", str(config.listen.connections_max)),
            *("--handshake-s", str(config.bounds.handshake_s)),
            *(("--require-certificate",) if config.listen.client_certificate == "required" else ()),
        ]
        with self._log.open("ab") as log:
            return await trio.lowlevel.open_process(
                words,
                pass_fds=[theirs.fileno(), self._listening.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PYTHONUNBUFFERED": "1", **os.environ},
                start_new_session=True,  # a Ctrl-C at the terminal is the kernel's to handle
            )

"""The host's half: starts a zygote, has workers made, and reaps them.

The kernel is the parent of every worker (clone3 with CLONE_PARENT), so a worker's pid cannot be used
again before the kernel has reaped it, and a zygote that dies takes nobody along. Call all of this from the
main thread: the death signal follows the thread that started the zygote.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, final

import msgspec
import trio

from sandbox import rooting
from sandbox.attested import Received, attest, receive_nowait
from sandbox.brood import Brood
from sandbox.ending import Exit
from sandbox.errors import JailError, ZygoteGone
from sandbox.filter import build_filter
from sandbox.groups import Group, Groups
from sandbox.leaves import settings_of
from sandbox.limits import MESSAGE_BYTES_MAX, SETUP_S_MAX, SPAWNS_AT_ONCE_MAX, START_S_MAX, STOP_S_MAX
from sandbox.messages import Bear, Begin, Born, Confined, Failed, FromZygote, Ready, Status
from sandbox.spec import TIERS, CommandSpec, Limits, WorkerSpec, ZygoteSpec, plan_binds
from sandbox.worker import Command, Worker, buried, reap

# Not -I, which would ignore the seed: what a durable program computes must not depend on the start.
_FLAGS: Final = ("-s", "-S", "-P", "-X", "utf8")
# One thread, because a worker of the tier without threads could not import numpy otherwise.
_ENVIRONMENT: Final = {"PYTHONHASHSEED": "0", "TZ": "UTC", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_BOOTSTRAP: Final = "import sys; sys.path[:0] = {path!r}; from sandbox.nursery import main; main({fd})"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_status: Final = msgspec.msgpack.Decoder(Status).decode
_decode_answer: Final = msgspec.msgpack.Decoder(FromZygote).decode


@final
class Zygote:
    """A running zygote. `spawn` may be called by many tasks at once; workers outlive the zygote."""

    def __init__(
        self, spec: ZygoteSpec, process: subprocess.Popen[bytes], control: socket.socket, groups: Groups | None
    ) -> None:
        self._spec = spec
        self._groups = groups
        self.ungrouped = ""
        self._process = process
        self._control = trio.socket.from_stdlib_socket(control)
        self._brood = Brood(control, groups)
        self._closed = False
        self._pidfd = os.pidfd_open(process.pid)
        self._sending = trio.Lock()
        self._at_once = trio.CapacityLimiter(SPAWNS_AT_ONCE_MAX)
        self.pid: Final = process.pid

    @classmethod
    async def start(cls, spec: ZygoteSpec, groups: Groups | None = None) -> Zygote:
        """Starts an interpreter and waits until it serves. With `groups`, each worker gets a control group of its own
        there; `ungrouped` says why not, if the system refuses.

        Raises JailError: layer `zygote` if it cannot start or import what it should (with its last words),
        `seccomp` if libseccomp is missing.
        """
        filters = await trio.to_thread.run_sync(_build_filters)
        ours, theirs = _pair(socket.SOCK_SEQPACKET)
        attest(ours)
        with theirs:
            try:
                process = _execute(spec, theirs)
            except OSError as error:
                ours.close()
                raise JailError("zygote", f"cannot execute {spec.python}: {error.strerror}") from error
        zygote = cls(spec, process, ours, groups)
        try:
            with trio.fail_after(START_S_MAX):
                await zygote._begin(Begin(spec, filters, os.getpid(), grouped=groups is not None))
        except trio.TooSlowError:
            await zygote._kill()
            raise JailError("zygote", f"did not start within {START_S_MAX} s") from None
        except BaseException:
            await zygote._kill()
            raise
        return zygote

    async def spawn(self, worker: WorkerSpec, given: tuple[int, ...] = ()) -> Worker:
        """Has a worker made and returns it once every layer is up. `given` descriptors go to it as duplicates.

        Raises ValueError (binds that cannot be planned), JailError (the layer that failed, and why;
        nothing is left behind), ZygoteGone (start another and ask again). Not cancelled half-way: it
        takes milliseconds and has a deadline.
        """
        plan_binds(self._spec.binds, worker.binds)
        request = Bear(worker.without, given=len(given), bounds=self._bounds(worker.limits))
        return await self._whole(_encode(worker), request, given, [bind.source for bind in worker.binds])

    async def spawn_command(self, command: CommandSpec) -> Command:
        """Has a jail made for an executable and returns it once every layer is up; `Command.go` executes it.

        Raises as `spawn`; what is wrong with the executable itself is how it ends.
        """
        stdio: list[int] = []
        with ExitStack() as ours, ExitStack() as theirs:
            for place in () if command.terminal else range(3):
                reading, writing = os.pipe2(os.O_CLOEXEC)
                own, other = (writing, reading) if place == 0 else (reading, writing)
                ours.callback(os.close, own)
                theirs.callback(os.close, other)
                os.set_blocking(own, False)
                stdio += own, other
            kinds = rooting.kinds_of(command.mounts)
            bounds = self._bounds(command.limits)
            request = Bear(command.without, given=len(stdio) // 2, kinds=kinds, bounds=bounds)
            given = tuple(stdio[1::2])
            worker = await self._whole(_encode(command), request, given, rooting.sources_of(command.mounts))
            ours.pop_all()
        with trio.CancelScope(shield=True):
            door, terminal = await _receive_opened(worker)
        return Command(worker, door=door, terminal=terminal, stdio=tuple(stdio[0::2]))

    async def _whole(self, spec: bytes, request: Bear, given: tuple[int, ...], sources: Sequence[str]) -> Worker:
        async with self._at_once:
            with trio.CancelScope(shield=True):
                try:
                    await self._brood.settle()
                    made = await self._spawn(spec, request, given, sources)
                except OSError as error:
                    raise JailError("fds", f"no descriptors for another worker: {error.strerror}") from error
        return made

    async def aclose(self) -> None:
        """Ends the zygote and reaps it. Its workers live on. May be called again."""
        if self._pidfd < 0:
            return
        self._hang_up()
        with trio.move_on_after(STOP_S_MAX, shield=True):
            await trio.lowlevel.wait_readable(self._pidfd)
        await self._kill()

    def _bounds(self, limits: Limits) -> tuple[tuple[str, str], ...]:
        return () if self._groups is None else settings_of(limits, self._groups.controllers)

    async def _begin(self, begin: Begin) -> None:
        try:
            await self._introduce(begin)
            data = await self._control.recv(MESSAGE_BYTES_MAX)
        except ConnectionError:
            data = b""
        answer = _decode_answer(data) if data else Failed("zygote", await self._last_words())
        if isinstance(answer, Failed):
            raise JailError(answer.layer, answer.reason)
        if isinstance(answer, Ready):
            self.ungrouped = answer.ungrouped
            self._groups = None if self.ungrouped else self._groups

    async def _introduce(self, begin: Begin) -> None:
        with ExitStack() as opened:
            fds: list[int] = []
            if self._groups is not None:
                fds.append(self._groups.open())
                opened.callback(os.close, fds[0])
            await self._control.sendmsg([_encode(begin)], _rights(fds))

    async def _last_words(self) -> str:
        await trio.lowlevel.wait_readable(self._pidfd)
        assert self._process.stderr is not None
        lines = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with status {self._process.wait()} before it served"

    async def _spawn(self, spec: bytes, request: Bear, given: tuple[int, ...], sources: Sequence[str]) -> Worker:
        with ExitStack() as kept:
            sock, guest_sock = _pair(socket.SOCK_STREAM)
            kept.callback(sock.close)
            output, guest_output = os.pipe2(os.O_CLOEXEC)
            kept.callback(os.close, output)
            status, guest_status = _pair(socket.SOCK_SEQPACKET)
            with status:
                attest(status)
                with ExitStack() as handed:
                    handed.callback(guest_sock.close)
                    handed.callback(os.close, guest_output)
                    handed.callback(guest_status.close)
                    opened = [_open_source(source, handed) for source in sources]
                    status.send(spec)
                    fds = [guest_status.fileno(), guest_sock.fileno(), guest_output, *given, *opened]
                    await self._ask(request, fds)
                pid, group, layers_us, shown = await self._follow(status)
                for fd in shown:
                    kept.callback(os.close, fd)
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:
                self._brood.drop(pid, group)
                raise
            sock.setblocking(False)
            os.set_blocking(output, False)
            kept.pop_all()
        mediated = (shown[0], shown[1]) if shown else None
        return Worker(
            pid=pid, pidfd=pidfd, sock=sock, output=output, layers_us=layers_us, mediated=mediated, group=group
        )

    async def _ask(self, request: Bear, fds: list[int]) -> None:
        if self._closed:
            raise ZygoteGone("the zygote was closed; start another")
        try:
            async with self._sending:
                await self._control.sendmsg([_encode(request)], _rights(fds))
        except (ConnectionError, trio.ClosedResourceError) as error:
            raise ZygoteGone("the zygote is gone; start another") from error

    async def _follow(self, status: socket.socket) -> tuple[int, Group | None, dict[str, int], tuple[int, ...]]:
        """The pid, the group, the costs and the descriptors of a worker that got confined; raises and reaps if it did
        not."""
        pid = 0
        failed: Failed | None = None
        with trio.move_on_after(SETUP_S_MAX) as deadline:
            while (received := await _next_status(status)) is not None:
                message, pid = self._attributed(received, pid)
                match message:
                    case Confined(layers):
                        return pid, self._brood.left(pid), layers, received.fds
                    case Failed():
                        failed = failed or message
        if deadline.cancelled_caught:
            await self._end_stuck(status, pid)
            raise JailError("zygote", f"a worker was not confined within {SETUP_S_MAX} s; the zygote was ended")
        group = self._brood.left(pid)
        await self._brood.settle()
        ended = await buried(os.pidfd_open(pid), group) if pid else Exit()
        if ended.signal is not None:
            raise JailError("clone", f"the worker was killed by signal {ended.signal} while it was being set up")
        if failed is not None:
            raise JailError(failed.layer, failed.reason)
        raise ZygoteGone("the zygote died while it made a worker; start another")

    def _attributed(self, received: Received, pid: int) -> tuple[Status, int]:
        """The message, and the worker's pid if that is known by now."""
        message: Status = _decode_status(received.data)
        if isinstance(message, Born):
            return message, message.pid
        return message, pid if received.sender == self.pid else received.sender

    async def _end_stuck(self, status: socket.socket, pid: int) -> None:
        """Ends the zygote and the worker that it was about to make, if it comes to that."""
        self._process.kill()
        while True:
            if pid:
                os.kill(pid, signal.SIGKILL)  # a child of ours that is not reaped: the pid is still its own
            received = await _next_status(status)
            if received is None:
                break
            _, pid = self._attributed(received, pid)
        if pid:
            group = self._brood.left(pid)
            await buried(os.pidfd_open(pid), group)

    def _hang_up(self) -> None:
        self._closed = True
        try:
            self._control.shutdown(socket.SHUT_WR)
        except OSError:  # the zygote has
            pass

    async def _kill(self) -> None:
        if self._pidfd < 0:
            return
        self._hang_up()
        self._process.kill()
        with trio.CancelScope(shield=True):
            await trio.lowlevel.wait_readable(self._pidfd)
            await self._brood.end()
        if self._groups is not None:
            self._groups.forget(self.pid)
        self._control.close()
        os.close(self._pidfd)
        self._pidfd = -1
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


def _rights(fds: Sequence[int]) -> list[tuple[int, int, bytes]]:
    """Descriptors that go with a message."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []


def _build_filters() -> dict[str, bytes]:
    return {tier: build_filter(tier) for tier in TIERS}


def _execute(spec: ZygoteSpec, control: socket.socket) -> subprocess.Popen[bytes]:
    here = str(Path(__file__).resolve().parent.parent)
    command = _BOOTSTRAP.format(path=[here, *spec.path], fd=control.fileno())
    return subprocess.Popen(
        [spec.python, *_FLAGS, "-c", command],
        env=_ENVIRONMENT,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(control.fileno(),),
        start_new_session=True,  # a Ctrl-C at the terminal is the kernel's to handle
    )


def _pair(kind: socket.SocketKind) -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, kind)


def _open_source(path: str, opened: ExitStack) -> int:
    try:
        source = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise JailError("root", f"cannot bind {path}: {error.strerror}") from error
    opened.callback(os.close, source)
    return source


async def _receive_opened(worker: Worker) -> tuple[socket.socket, int]:
    """The listening socket of a command's door, and its terminal (-1: none)."""
    await trio.lowlevel.wait_readable(worker.sock)
    _, fds, _, _ = socket.recv_fds(worker.sock, 1, 2)
    if not fds:
        os.close(worker.output)
        worker.sock.close()
        await reap(worker)
        raise JailError("net", "the first process of the command died before it had opened its door")
    door = socket.socket(fileno=fds[0])
    door.setblocking(False)
    for fd in fds[1:]:
        os.set_blocking(fd, False)
    return door, fds[1] if len(fds) > 1 else -1


async def _next_status(status: socket.socket) -> Received | None:
    """The next message; None when all have hung up."""
    while True:
        try:
            return receive_nowait(status)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(status)

"""An executable while it runs: its jail, the worker that serves its door, its streams, and the order in which they end.

The worker's link is the process's: what comes in at the door is called on it, so that it is the process's own. The
executable itself has no link, and neither has the first process of its jail.
"""

import fcntl
import os
import secrets
import signal
import struct
import termios
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable
from typing import Literal, final

import trio
from msgspec import Struct
from msgspec.structs import replace

from kernel.clock import Clock
from kernel.config import Bounds
from kernel.link import Entrance
from kernel.messages.pipe import Pipes
from kernel.outcome import ended, lost
from kernel.process import Process
from kernel.workers.launch import CommandEnd, CommandRequest, Launched, LaunchedCommand, Launcher, LaunchRequest
from kernel.workers.supervision import grants_of
from kernel.workers.worker import WorkerHost, write_log
from syscalls import worker as abi
from syscalls.calls.process import Exit, LogLine
from syscalls.errors import Invalid, SyscallError
from syscalls.link.duplex import Duplex
from syscalls.mediation import is_whole_site
from syscalls.rights import Right
from syscalls.signals import Signal

_PIECE_BYTES = 64 * 1024
_KEY_BYTES = 24
_SIGNALS = {
    Signal.INT: signal.SIGINT,
    Signal.TERM: signal.SIGTERM,
    Signal.STOP: signal.SIGSTOP,
    Signal.CONT: signal.SIGCONT,
    Signal.USR1: signal.SIGUSR1,
    Signal.USR2: signal.SIGUSR2,
    Signal.ALRM: signal.SIGALRM,
}
"""What a signal of ours is to an executable. CHLD and QUOTA are nothing: the one is of children that it cannot have,
the other it is told as an answer."""


_TCP = Right("net:tcp:**", ("connect",))
Supervise = Callable[[Process, Launched, Awaitable[None]], Awaitable[bool]]
"""Does work while somebody answers a worker's plain calls; whether nobody did any more."""


@final
class Streams(Struct, frozen=True):
    """The pipes, by number, of which the process has the other ends: see syscalls.calls.command."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


@final
class CommandHost:
    """One executable of one process. `run` returns when its jail is gone and reaped."""

    def __init__(
        self,
        process: Process,
        request: CommandRequest,
        streams: Streams,
        *,
        launcher: Launcher,
        gate: Entrance,
        pipes: Pipes,
        bounds: Bounds,
        clock: Clock,
        default_model: str,
        supervise: Supervise,
    ) -> None:
        self._process = process
        self._request = request
        self._streams = streams
        self._launcher = launcher
        self._gate = gate
        self._pipes = pipes
        self._bounds = bounds
        self._clock = clock
        self._default_model = default_model
        self._supervise = supervise
        self._proxied = any(right.overlaps(_TCP) or is_whole_site(right) for right in process.rights)
        self._launched: LaunchedCommand | None = None
        self._early: list[int] = []

    def deliver(self, number: Signal) -> None:
        """Hands on a signal."""
        signum = _SIGNALS.get(number)
        if signum is None:
            return
        if self._launched is None:
            self._early.append(signum)
        else:
            self._launched.signal(signum)

    def cancel(self, reason: str) -> None:
        """TERM, as a program's call is cancelled with it."""
        self.deliver(Signal.TERM)

    def resize(self, rows: int, columns: int) -> None:
        """Raises Invalid (EINVAL) where there is no terminal."""
        if self._launched is None or self._launched.terminal < 0:
            raise Invalid(f"process {self._process.pid} has no terminal: start it with one")
        fcntl.ioctl(self._launched.terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    async def run(self) -> Exit:
        """From its jail to its end. Raises IOFailed with the layer that could not be put up."""
        key = f"sk-kernos-{secrets.token_urlsafe(_KEY_BYTES)}"
        launched = await self._launcher.command(replace(self._request, door_env=self._door_env(key)))
        process = self._process
        outcome = lost(process)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(launched.drain, self._print)
                door = await self._launcher.launch(self._door_request(launched.door))
                host = WorkerHost(self._process, door, self._gate, bounds=self._bounds, clock=self._clock)

                async def work(wire: Duplex) -> None:
                    nonlocal outcome
                    outcome = await self._work(wire, key, launched) or outcome

                if door.control is None:
                    await host.serve(work)
                elif await self._supervise(self._process, door, host.serve(work)):
                    outcome = lost(self._process)
                nursery.cancel_scope.cancel()
        finally:
            launched.kill()
            self._launched = None
            with trio.CancelScope(shield=True):
                await launched.wait()
                await launched.aclose()
        if launched.over and outcome.status != "done" and process.ending is None:
            process.over = launched.over
            return ended(process, "over_limit")
        return outcome

    def _door_env(self, key: str) -> dict[str, str]:
        """Where it finds the kernel."""
        url = "http://127.0.0.1:{port}"
        local = "127.0.0.1,localhost"
        proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        return {
            **(dict.fromkeys(proxies, url) if self._proxied else {}),
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": key,
            "KERNOS_MCP_URL": f"{url}/mcp",
            "KERNOS_PID": str(self._process.pid),
            "KERNOS_MODEL": self._process.model or self._default_model,
            "NO_PROXY": local,
            "no_proxy": local,
        }

    def _door_request(self, listening: int) -> LaunchRequest:
        """Of the worker of its door. Where it has rights to connect, that connects for it, and is supervised in what it
        opens as any worker of the tier `files`."""
        process = self._process
        if not self._proxied:
            return LaunchRequest(pid=process.pid, name=process.name, door=listening)
        return LaunchRequest(
            pid=process.pid, name=process.name, door=listening, tier="files", mediated=grants_of(process)
        )

    async def _work(self, wire: Duplex, key: str, launched: LaunchedCommand) -> Exit | None:
        """Runs it while its door is served; None where the door's worker died, and the command with it."""
        process = self._process
        model = process.model or self._default_model
        told: CommandEnd | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, wire, nursery.cancel_scope)
            ticket = wire.begin(abi.DOOR, abi.OpenDoor(pid=process.pid, channel=process.pid, key=key, model=model))
            nursery.start_soon(ticket.outcome)
            process.host, process.worker_pid = self, launched.pid
            launched.go()
            for signum in self._early:
                launched.signal(signum)
            self._launched = launched
            async with trio.open_nursery() as pumps:
                reading = self._connect(launched, pumps)
                told = await launched.ended()
                reading.cancel()
            nursery.cancel_scope.cancel()
        return None if told is None else self._exit(told)

    def _exit(self, end: CommandEnd) -> Exit:
        pid, name = self._process.pid, self._request.path
        if end.failed:
            why = f"{name} cannot be executed: {end.failed}{_hint(end)}"
            return Exit(pid=pid, status="failed", code=end.code, error=why)
        if end.signal:
            code, told = 128 + end.signal, f"signal {end.signal} ({_signal_name(end.signal)})"
            return Exit(pid=pid, status="failed", code=code, error=f"{name} was ended by {told}")
        if end.code:
            return Exit(pid=pid, status="failed", code=end.code, error=f"{name} ended with status {end.code}")
        return Exit(pid=pid, status="done")

    def _connect(self, launched: LaunchedCommand, pumps: trio.Nursery) -> trio.CancelScope:
        """Starts to move what it reads and writes; the scope of the former, for nobody reads when it has ended."""
        reading = trio.CancelScope()
        if launched.terminal >= 0:
            pumps.start_soon(self._feed, os.dup(launched.terminal), reading)
            pumps.start_soon(self._take, os.dup(launched.terminal), self._streams.stdout, "stdout")
        else:
            stdin, stdout, stderr = launched.take_stdio()
            pumps.start_soon(self._feed, stdin, reading)
            pumps.start_soon(self._take, stdout, self._streams.stdout, "stdout")
            pumps.start_soon(self._take, stderr, self._streams.stderr, "stderr")
        return reading

    async def _feed(self, fd: int, scope: trio.CancelScope) -> None:
        """From the pipe that is its standard input."""
        pipe = self._streams.stdin
        async with trio.lowlevel.FdStream(fd) as stream:
            with scope:
                try:
                    while pipe is not None and (data := await self._pipes.read(self._process, pipe, _PIECE_BYTES)):
                        await stream.send_all(data)
                except (trio.BrokenResourceError, SyscallError):  # it reads no more, or the pipe was taken away
                    pass
                if self._launched is not None and self._launched.terminal >= 0:
                    await trio.sleep_forever()  # a terminal has no end: closing it hangs up

    async def _take(self, fd: int, pipe: int | None, name: Literal["stdout", "stderr"]) -> None:
        """To the pipe that is its output, or to its log."""
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        async with trio.lowlevel.FdStream(fd) as stream:
            try:
                async for piece in stream:
                    if pipe is None:
                        self._print(decode(bytes(piece)), name)
                    else:
                        await self._pipes.write(self._process, pipe, bytes(piece))
            except (trio.BrokenResourceError, SyscallError):  # a terminal that hung up, or nobody reads any more
                pass
        if pipe is not None and self._streams.stdout != self._streams.stderr:  # what both share is closed at the end
            try:
                self._pipes.close(self._process, pipe, "writer")
            except SyscallError:
                pass

    def _print(self, text: str, stream: Literal["stdout", "stderr"] = "stderr") -> None:
        if text:
            write_log(self._process, LogLine(at_s=self._clock.now(), pid=self._process.pid, stream=stream, text=text))


async def _until_gone(wire: Duplex, scope: trio.CancelScope) -> None:
    await wire.ended()
    scope.cancel()


def _hint(ended: CommandEnd) -> str:
    """A script whose interpreter is missing looks like one that is missing itself."""
    return " (is it, or the interpreter that it names, in a folder that it was granted?)" if ended.code == 127 else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "real-time"

"""What the kernel asks of whoever makes workers: a jail on a real machine, a plain task in tests."""

import os
import socket
from collections.abc import Callable, Iterable
from typing import Protocol, final

from msgspec import Struct

from syscalls.calls.process import Tier
from syscalls.link.transport import Transport
from syscalls.mediation import Grants
from syscalls.rights import Right
from syscalls.worker_limits import WorkerLimits


@final
class LaunchRequest(Struct, frozen=True, kw_only=True):
    """A worker for process `pid`; `folders` of the host are seen read-only at the same paths. One that is `mediated` is
    of the tier `files`, with a supervisor that lets it do what these grants say."""

    pid: int
    name: str
    folders: tuple[str, ...] = ()
    limits: WorkerLimits = WorkerLimits()
    tier: Tier = "pure"
    mediated: Grants | None = None
    writes: tuple[str, ...] = ()
    """Folders of the host that it may write to, if its supervisor lets it."""
    door: int | None = None
    """A listening socket, for a worker that serves it and nothing else."""


@final
class Granted(Struct, frozen=True):
    """A file or folder of the host that a command sees at the same place; with `layer` its changes go there."""

    path: str
    writable: bool = False
    layer: str = ""


@final
class CommandRequest(Struct, frozen=True, kw_only=True):
    """An executable for process `pid`. In the values of `door_env`, which is added to its environment, `{port}` is the
    port of its door. `terminal` is rows and columns."""

    pid: int
    path: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    door_env: dict[str, str] = {}
    granted: tuple[Granted, ...]
    limits: WorkerLimits = WorkerLimits()
    terminal: tuple[int, int] | None = None


@final
class CommandEnd(Struct, frozen=True, kw_only=True):
    """How a command ended: by itself with `code`, by `signal`, or, as `failed` says, it was never executed."""

    code: int = 0
    signal: int = 0
    failed: str = ""


class LaunchedCommand(Protocol):
    """A jail in which an executable waits for `go`. `door` listens on its loopback; `take_stdio` gives our ends of
    its pipes 0, 1 and 2, for the caller to close, or there is `terminal` (else -1), our end of its terminal. What was
    not taken is closed by `aclose`, which follows `wait`. `over` is as that of `Launched`."""

    @property
    def pid(self) -> int: ...
    @property
    def door(self) -> int: ...
    @property
    def terminal(self) -> int: ...
    @property
    def over(self) -> str: ...
    def take_stdio(self) -> tuple[int, ...]: ...
    def go(self) -> None: ...
    def signal(self, signum: int) -> None: ...
    def kill(self) -> None: ...
    async def drain(self, sink: Callable[[str], None]) -> None: ...
    async def ended(self) -> CommandEnd | None: ...
    async def wait(self) -> str: ...
    async def aclose(self) -> None: ...


class Launched(Protocol):
    """A worker that is confined and about to say HELLO. `pid` is that of the OS process, 0 where there is none; `over`
    is, once it has ended, the limit that it ran into, or nothing; `control` the kernel's end of its supervisor's
    socket, the caller's to close, None where it has no supervisor."""

    @property
    def pid(self) -> int: ...
    @property
    def transport(self) -> Transport: ...
    @property
    def over(self) -> str: ...
    @property
    def control(self) -> socket.socket | None: ...
    def signal(self, signum: int) -> None: ...
    async def drain(self, sink: Callable[[str], None]) -> None: ...
    async def wait(self) -> str: ...
    async def aclose(self) -> None: ...


class Launcher(Protocol):
    """Makes workers. Raises IOFailed (EIO) with the layer that failed; `aclose` ends what it holds but no worker."""

    async def launch(self, request: LaunchRequest) -> Launched: ...
    async def command(self, request: CommandRequest) -> LaunchedCommand: ...
    async def aclose(self) -> None: ...


def folders_of(rights: tuple[Right, ...], action: str = "read") -> tuple[str, ...]:
    """The host folders and files that rights to read show a worker: `file:/folder/** read`, `file:/file read`."""
    found = set()
    for right in rights:
        kind, _, path = right.resource.partition(":")
        if kind == "file" and path.startswith("/") and right.allows(action, right.resource):
            found.add(os.path.normpath(path.removesuffix("/**")))
    return tuple(sorted(path for path in found if path != "/" and "*" not in path and os.path.exists(path)))


def granted_by(rights: tuple[Right, ...]) -> tuple[Granted, ...]:
    """What a command sees of the host: writable where it may read and write."""
    writable = frozenset(folders_of(rights, "write"))
    return tuple(Granted(path, path in writable) for path in folders_of(rights))


def shown_by(rights: Iterable[Right]) -> tuple[Right, ...]:
    """What these rights show of the host once links are followed, as rights to read it, and to write it."""
    shown = []
    for each in granted_by(tuple(rights)):
        real = os.path.realpath(each.path)
        if real != each.path:
            actions = ("read", "write") if each.writable else ("read",)
            shown.append(Right(f"file:{real}/**" if os.path.isdir(real) else f"file:{real}", actions))
    return tuple(shown)

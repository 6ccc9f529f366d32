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


@final
class LaunchRequest(Struct, frozen=True, kw_only=True):
    """A worker for process `pid`; `folders` of the host are seen read-only at the same paths. One that is `mediated` is
    of the tier `files`, with a supervisor that lets it do what these grants say."""

    pid: int
    name: str
    folders: tuple[str, ...] = ()
    tier: Tier = "pure"
    mediated: Grants | None = None


class Launched(Protocol):
    """A worker that is confined and about to say HELLO. `pid` is that of the OS process, 0 where there is none;
    `control` the kernel's end of its supervisor's socket, the caller's to close, None where it has no supervisor."""

    @property
    def pid(self) -> int: ...
    @property
    def transport(self) -> Transport: ...
    @property
    def control(self) -> socket.socket | None: ...
    def signal(self, signum: int) -> None: ...
    async def drain(self, sink: Callable[[str], None]) -> None: ...
    async def wait(self) -> str: ...
    async def aclose(self) -> None: ...


class Launcher(Protocol):
    """Makes workers. Raises IOFailed (EIO) with the layer that failed; `aclose` ends what it holds but no worker."""

    async def launch(self, request: LaunchRequest) -> Launched: ...
    async def aclose(self) -> None: ...


def folders_of(rights: tuple[Right, ...]) -> tuple[str, ...]:
    """The host folders and files that rights to read show a worker: `file:/folder/** read`, `file:/file read`."""
    found = set()
    for right in rights:
        kind, _, path = right.resource.partition(":")
        if kind == "file" and path.startswith("/") and right.allows("read", right.resource):
            found.add(os.path.normpath(path.removesuffix("/**")))
    return tuple(sorted(path for path in found if path != "/" and "*" not in path and os.path.exists(path)))


def shown_by(rights: Iterable[Right]) -> tuple[Right, ...]:
    """What these rights show of the host once links are followed, as rights to read."""
    shown = []
    for path in folders_of(tuple(rights)):
        real = os.path.realpath(path)
        if real != path:
            shown.append(Right(f"file:{real}/**" if os.path.isdir(real) else f"file:{real}", ("read",)))
    return tuple(shown)

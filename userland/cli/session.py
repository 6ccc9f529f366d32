"""Which kernel the commands talk to, and the link to it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, final

from syscalls.errors import BrokenPipe
from syscalls.paths import PACKAGES, SOCKET_BYTES_MAX, config_path, socket_path, state_dir
from userland.cli.failures import USAGE, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    from syscalls.link.blocking import BlockingLink
    from syscalls.link.lasting import LastingSocket


@final
class Session:
    """The choice of a kernel. With `keep`, one link serves many commands: what the console does."""

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._kept: BlockingLink | None = None
        self._socket: str | None = None
        self._host: str | None = None
        self.config: Path | None = None
        self.further: Mapping[str, click.Command] | None = None
        """The commands of extensions, once they were looked for."""
        self.typed = True
        """Whether stdin is for the programs that are run; in a console fed by a pipe it holds commands."""

    def choose(self, *, socket: str | None = None, config: Path | None = None, host: str | None = None) -> None:
        """What the options said; the later, the stronger. A kept link to another kernel is given up."""
        before = (self.host, self.path)
        self._socket = socket or self._socket
        if config is not None and config != self.config:
            self.further = None
        self.config = config or self.config
        if socket or host:
            self._host = host or ""
        if (self.host, self.path) != before:
            self.hang_up()

    @property
    def host(self) -> str:
        """The kernel elsewhere that is meant, "" for the one of this machine: `--host`, `$KERNOS_HOST`."""
        return os.environ.get("KERNOS_HOST", "") if self._host is None else self._host

    def here(self, command: str) -> None:
        """Raises Failure where a kernel elsewhere is meant: `command` is for this machine's."""
        if self.host:
            raise Failure(f"'kernos {command}' is for the kernel of this machine, not for --host {self.host}", USAGE)

    @property
    def explicit(self) -> bool:
        """Whether somebody named the kernel: then no other will do."""
        return bool(self.host or self._socket or os.environ.get("KERNOS_SOCKET") or _configured(self.config, "socket"))

    @property
    def explicit_socket(self) -> bool:
        """Whether a socket was named for this command, or for the shell."""
        return bool(self._socket or os.environ.get("KERNOS_SOCKET"))

    @property
    def path(self) -> Path:
        """Where the kernel is to be found: `--socket`, `$KERNOS_SOCKET`, the configuration, the XDG place."""
        given = self._socket or os.environ.get("KERNOS_SOCKET") or _configured(self.config_file, "socket")
        return Path(given) if given else socket_path()

    @property
    def config_file(self) -> Path | None:
        """The configuration in force: `--config`, else the one at the XDG place if there is one."""
        if self.config is not None:
            return self.config
        usual = config_path()
        return usual if usual.is_file() else None

    @property
    def state(self) -> Path:
        """Where a kernel started from here keeps its state: what the configuration says, or the XDG place."""
        return Path(_configured(self.config_file, "state") or state_dir()).absolute()

    @property
    def trusts(self) -> bool:
        """Whether there may be a word of trust for an extension: a quick look, so that few commands look for one."""
        records = self.packages.glob("[a-z0-9]*/package.json")
        return any(_holds(path, b'"commands"') for path in records) or _holds(self.config_file, b"trust")

    @property
    def packages(self) -> Path:
        """Where packages are installed for the kernels that are started from here."""
        given = _configured(self.config_file, "packages")
        return Path(given).absolute() if given else self.state / PACKAGES

    @contextmanager
    def link(self) -> Iterator["BlockingLink"]:
        """The link, closed after the command unless it is kept. Raises BrokenPipe that says how to start a kernel."""
        link = self._kept if self._kept is not None else self.connect()
        if self._keep:
            self._kept = link
        try:
            yield link
        except (BrokenPipe, KeyboardInterrupt):  # between two frames nobody knows where the stream is
            self.hang_up()
            raise
        finally:
            if not self._keep:
                link.close()

    def connect(self) -> "BlockingLink":
        """A link of its own. Raises BrokenPipe (EPIPE) that says how to start a kernel; a kernel elsewhere may refuse
        with PermissionDenied (EPERM)."""
        from syscalls.link.blocking import BlockingLink

        sock = self.connect_socket()
        try:
            return BlockingLink(sock)
        except BaseException:
            sock.close()
            raise

    def connect_socket(self) -> "socket.socket | LastingSocket":
        """A connected socket. Raises as `connect` does."""
        if self.host:
            from syscalls.link.lasting import LastingSocket
            from userland.hosts import find_host

            return LastingSocket(find_host(self.host, config=self.config))
        path = check_length(self.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
        except OSError as failed:
            sock.close()
            why = failed.strerror or str(failed)
            raise BrokenPipe(f"no kernel answers at {path}: {why}; start one with 'kernos up -d'") from None
        return sock

    def answers(self) -> bool:
        """Whether a kernel lives at the socket."""
        try:
            self.connect().close()
        except BrokenPipe:
            return False
        return True

    def hang_up(self) -> None:
        """Gives up the kept link; the next command makes a new one."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


def check_length(path: Path) -> Path:
    """`path`, if a socket can have it. Raises Failure with the limit."""
    size = len(os.fsencode(path))
    if size > SOCKET_BYTES_MAX:
        limit = f"a socket path has at most {SOCKET_BYTES_MAX} bytes, this one has {size}"
        raise Failure(f"{limit}: give a shorter one with --socket ({path})", USAGE)
    return path


def _holds(path: Path | None, word: bytes) -> bool:
    try:
        return path is not None and word in path.read_bytes()
    except OSError:
        return False


def _configured(config: Path | None, key: str) -> str:
    """A text key of kernos.toml, "" without one; the kernel checks the rest of the file."""
    if config is None:
        return ""
    import tomllib

    try:
        value = tomllib.loads(config.read_text()).get(key, "")
    except (OSError, ValueError) as bad:
        raise Failure(f"{config}: {bad}", USAGE) from None
    return value if isinstance(value, str) else ""

"""A real kernel in its own OS process, for end-to-end tests."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from msgspec import Raw

from syscalls.calls import kernel as kernel_calls
from syscalls.calls import process
from syscalls.calls.kernel import TraceRecord
from syscalls.codec import pack
from syscalls.link.blocking import BlockingLink
from syscalls.wire import NIL

READY_S_MAX = 30.0


@final
class KernelProcess:
    """A kernel that is up, and the folder that holds its state and socket."""

    def __init__(self, child: "subprocess.Popen[bytes]", folder: Path) -> None:
        self.child = child
        self.folder = folder
        self.socket = folder / "k.sock"
        self._links: list[BlockingLink] = []

    def link(self) -> BlockingLink:
        """A new session; closed at the end if it is not closed before."""
        link = BlockingLink.connect(str(self.socket))
        self._links.append(link)
        return link

    def hang_up(self) -> None:
        """Closes what is still open."""
        for link in self._links:
            link.close()

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Tells it to stop and waits; its exit status."""
        if self.child.poll() is None:
            self.child.send_signal(signum)
        return self.child.wait(timeout=30)

    def stderr(self) -> str:
        """What it complained of."""
        return (self.folder / "stderr").read_text()


def boot_command(folder: Path, *extra: str, through: tuple[str, ...] = ()) -> list[str]:
    """The command line of a kernel whose everything lies in `folder`; `through` is a module that runs it."""
    where = ["--socket", str(folder / "k.sock"), "--state", str(folder / "state")]
    return [sys.executable, "-m", *through, "kernel.boot", *where, *extra]


@contextmanager
def kernel_up(
    *extra: str, config: str = "", folder: Path | None = None, through: tuple[str, ...] = ()
) -> Iterator[KernelProcess]:
    """A kernel with `config` as its kernos.toml; killed if it does not end by itself. Fails if it wrote a traceback.
    `through` as in `boot_command`."""
    with tempfile.TemporaryDirectory(prefix="kernos-test-") as made:
        home = folder or Path(made)
        if config:
            (home / "kernos.toml").write_text(config)
            extra = (*extra, "--config", str(home / "kernos.toml"))
        read, write = os.pipe()
        with (home / "stderr").open("ab") as errors:
            command = [*boot_command(home, *extra, through=through), "--ready-fd", str(write)]
            child = subprocess.Popen(command, pass_fds=[write], stderr=errors)
        os.close(write)
        kernel = KernelProcess(child, home)
        try:
            line = _ready_line(read)
            assert line == "ready\n", f"{line!r}: {kernel.stderr()}"
            yield kernel
            kernel.stop()
            assert "Traceback" not in kernel.stderr(), kernel.stderr()
        finally:
            kernel.hang_up()
            if child.poll() is None:
                child.kill()
                child.wait()


def _ready_line(read: int) -> str:
    with os.fdopen(read) as pipe:
        return pipe.readline()


def spawn(link: BlockingLink, program: str, *args: Any, **options: Any) -> int:
    """Spawns with positional arguments; options are fields of Spawn."""
    options.setdefault("args", Raw(pack(list(args))) if args else NIL)
    pid: int = link.call(process.SPAWN, process.Spawn(program=program, **options)).pid
    return pid


def wait(link: BlockingLink, pid: int = 0, timeout_s: float = 60.0) -> process.Exit:
    """Waits for a child."""
    exit_: process.Exit = link.call(process.WAIT, process.Wait(pid=pid, timeout_s=timeout_s))
    return exit_


def trace(link: BlockingLink) -> list[TraceRecord]:
    """Everything in the ring."""
    return list(link.stream(kernel_calls.TRACE, kernel_calls.Trace()))


def until(condition: Any, *, within_s: float = 20.0) -> Any:
    """Asks until the answer is true; for states of other OS processes that announce themselves in no other way."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {within_s} s")

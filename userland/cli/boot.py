"""Starting a kernel from the command line: `kernel.boot` as an OS process, by name, because clients never import it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

from userland.cli.failures import KERNEL_FAILED, Failure

_GRACE_S = 15.0
_EPHEMERAL = "kernos-run-"
LOG = "kernel.log"


def command(
    *,
    socket: Path | None = None,
    state: Path | None = None,
    config: Path | None = None,
    model: str | None = None,
    listen: str | None = None,
    packages: Path | None = None,
    ephemeral: bool = False,
    ready_fd: int | None = None,
) -> list[str]:
    """The words that start a kernel. `-P`: a folder `kernel` in the working directory is not ours."""
    words = [sys.executable, "-P", "-m", "kernel.boot"]
    options: dict[str, object | None] = {
        "--socket": socket,
        "--state": state,
        "--config": config,
        "--model": model,
        "--listen": listen,
        "--packages": packages,
        "--ready-fd": ready_fd,
    }
    for option, value in options.items():
        if value is not None:
            words += [option, str(value)]
    return [*words, "--ephemeral"] if ephemeral else words


@final
class Booted:
    """A kernel that this OS process started and that answers at `socket`."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket: Path) -> None:
        self.pid = process.pid
        self.socket = socket
        self._process = process

    def stop(self) -> None:
        """Asks it to end and waits; a kernel that does not is ended."""
        self._process.terminate()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """It goes on without this OS process."""
        self._process.returncode = 0  # or its destructor would warn of a child that still runs


def start(
    socket: Path,
    log: Path,
    *,
    state: Path,
    config: Path | None,
    model: str | None,
    ephemeral: bool,
    listen: str | None = None,
    packages: Path | None = None,
) -> Booted:
    """Starts a kernel with its output in `log` and waits until it answers. Raises Failure with its own sentence."""
    reading, writing = os.pipe()
    words = command(
        socket=socket,
        state=state,
        config=config,
        model=model,
        listen=listen,
        packages=packages,
        ephemeral=ephemeral,
        ready_fd=writing,
    )
    with open(log, "ab", buffering=0) as out:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(writing,),
                start_new_session=True,  # Ctrl-C at the terminal is the command's, not the kernel's
            )
        finally:
            os.close(writing)
    with open(reading, "rb") as told:
        line = told.readline().decode(errors="replace").strip()
    if line == "ready":
        return Booted(process, socket)
    if not line:
        code = process.wait()
        raise Failure(f"the kernel ended at boot with status {code}: {_last_line(log)}", KERNEL_FAILED)
    process.wait()
    raise Failure(line.removeprefix("failed: "), KERNEL_FAILED)


@contextmanager
def ephemeral(*, config: Path | None, model: str | None, packages: Path | None = None) -> Iterator[Booted]:
    """A kernel for one command: it ends with the block, and with this OS process however that ends. What is installed
    in the folder `packages` is installed for it."""
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{_EPHEMERAL}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        state = place / "state"
        state.mkdir(mode=0o700)
        kernel = start(
            place / "kernel.sock",
            place / LOG,
            state=state,
            config=config,
            model=model,
            ephemeral=True,
            packages=packages,
        )
        try:
            yield kernel
        finally:
            kernel.stop()


def _sweep(folder: Path) -> None:
    """Removes what commands that were killed could not: their folders name them by pid."""
    for left in folder.glob(f"{_EPHEMERAL}*"):
        pid = left.name.removeprefix(_EPHEMERAL).partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)) and left.stat().st_uid == os.getuid():
            shutil.rmtree(left, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Whether there is such an OS process, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def replace_self(words: Sequence[str]) -> None:
    """This OS process becomes the kernel."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(words[0], list(words))


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1].strip()} (all of it: {log})" if lines else f"it said nothing ({log})"

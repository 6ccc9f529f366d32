"""Workers where there is no jail: fresh OS processes with an empty environment, a process group and resource limits.

That is what every Unix has, and it is no wall: such a worker is the same user as the kernel, and sees all of its files
and the network. It is for systems that have none of the layers, and whose operator says so (`weak_sandbox`). Nothing
here is of Linux alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final, final

import msgspec
import trio

from sandbox.errors import JailError
from sandbox.interpreter import guest_path
from sandbox.spec import WorkerSpec

ALL: Final = "jail"
"""What the operator writes in `weak_sandbox` to go without any layer."""
HAS: Final = (
    "workers are OS processes of the kernel's own user with resource limits, a process group and an empty environment: "
    "they see its files and the network"
)

_FLAGS: Final = ("-s", "-S", "-P", "-X", "utf8")
_ENVIRONMENT: Final = {"PYTHONHASHSEED": "0", "TZ": "UTC", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_BOOTSTRAP: Final = (
    "import sys; sys.path[:0] = {path!r}; from sandbox.weak_guest import main; sys.exit(main({fd}, sys.argv[1]))"
)


@final
class WeakWorker:
    """One such process. `sock` is the kernel's end of its socket, `output` the reading end of a pipe that carries its
    descriptors 1 and 2; both are non-blocking and the caller's to close."""

    def __init__(self, process: trio.Process, sock: socket.socket, output: int) -> None:
        self._process = process
        self._left = True
        self.sock: Final = sock
        self.output: Final = output

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        """To it and all that it has started."""
        if self._process.returncode is None:
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):  # it has just ended: some systems say the one, some the other
                pass

    async def wait(self) -> int:
        """Waits for its end, and ends what it has started and left behind; its status, or a signal's number as a
        negative one. May be called by many."""
        status = await self._process.wait()
        if self._left:  # once: as long as anybody is in the group its number is no other's, and no longer
            self._left = False
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        return status


async def start(spec: WorkerSpec) -> WeakWorker:
    """Starts a fresh interpreter. Raises JailError where the system cannot."""
    sock, theirs = socket.socketpair()
    output, guest_output = os.pipe()
    started = False
    try:
        command = _BOOTSTRAP.format(path=[_here(), *guest_path()], fd=theirs.fileno())
        process = await trio.lowlevel.open_process(
            [sys.executable, *_FLAGS, "-c", command, msgspec.json.encode(spec).decode()],
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=guest_output,
            stderr=guest_output,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        started = True
    except OSError as error:
        raise JailError("clone", f"no process can be started: {error.strerror}") from error
    finally:
        theirs.close()
        os.close(guest_output)
        if not started:
            sock.close()
            os.close(output)
    sock.setblocking(False)
    os.set_blocking(output, False)
    return WeakWorker(process, sock, output)


def kept_limits() -> tuple[str, ...]:
    """The limits that this system lets a process set on itself: tried in one that ends at once."""
    command = (
        f"import sys; sys.path[:0] = {[_here(), *guest_path()]!r}; from sandbox.weak_guest import take_limits; "
        "from sandbox.spec import WorkerSpec; print(*take_limits(WorkerSpec(entry='a:b')))"
    )
    done = subprocess.run(
        [sys.executable, *_FLAGS, "-c", command], capture_output=True, text=True, timeout=30, check=False
    )
    return tuple(done.stdout.split())


def overran(status: int) -> bool:
    """Whether it was ended for the processor time that it used."""
    return status == -signal.SIGXCPU


def _here() -> str:
    return str(Path(__file__).resolve().parent.parent)

"""Bubblewrap with the same interpreter and imports against a worker of ours, in turns: how many times faster HELLO is
there. Bubblewrap is given what it can do: all namespaces, read-only binds, no capabilities; no filter, no Landlock.
"""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

import trio

from bench.sandbox.zygotes import end, ready, zygote
from kernel.workers.jail import PRELOAD
from sandbox.interpreter import guest_binds, guest_path

ROUNDS = 15
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", sys.base_prefix)
_PROGRAM: Final = """
import importlib, sys
sys.path[:] = {path!r}
for name in {preload!r}:
    importlib.import_module(name)
from userland.worker import main
sys.exit(main({fd}))
"""


def measure(folder: Path, *, quick: bool) -> dict[str, float]:
    """The ratio and both sides; nothing where bubblewrap is not installed."""
    if shutil.which("bwrap") is None:
        print("bwrap_speedup is left out: bubblewrap is not installed (Debian, Ubuntu: apt install bubblewrap)")
        return {}
    return trio.run(_measure, 3 if quick else ROUNDS)


async def _measure(rounds: int) -> dict[str, float]:
    ours, theirs = [], []
    async with zygote() as maker:
        _bubblewrap()
        for _ in range(rounds):
            theirs.append(_bubblewrap())
            worker, took = await ready(maker)
            ours.append(took)
            await end(worker)
    return {
        "bwrap_speedup": median(a / b for a, b in zip(theirs, ours, strict=True)),
        "bwrap_ready_ms": median(theirs),
    }


def _bubblewrap() -> float:
    """Milliseconds from the start of bubblewrap to HELLO."""
    sock, guest = socket.socketpair()
    with sock:
        with guest:
            guest.set_inheritable(True)
            began = time.perf_counter()
            child = subprocess.Popen(_command(guest.fileno()), close_fds=False, stdin=subprocess.DEVNULL)
        said = sock.recv(1 << 16)
        took = 1000 * (time.perf_counter() - began)
        child.kill()
        child.wait()
        assert said, "bubblewrap ended before there was HELLO"
    return took


def _command(fd: int) -> list[str]:
    binds = {path: path for path in _LIBRARIES if Path(path).exists()}
    binds[str(Path(sys.executable).resolve())] = str(Path(sys.executable).resolve())
    binds |= {bind.target: bind.source for bind in guest_binds()}
    shown = [word for target, source in sorted(binds.items()) for word in ("--ro-bind", source, target)]
    program = _PROGRAM.format(path=list(guest_path()), preload=PRELOAD, fd=fd)
    return [
        "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", *shown, "--",
        str(Path(sys.executable).resolve()), "-s", "-S", "-P", "-c", program,
    ]  # fmt: skip

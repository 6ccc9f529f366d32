"""What this machine can do of the jail, for `kernos doctor`: asked of the system in a process of its own.

Nothing here is of Linux alone: elsewhere it says so, and what there is instead.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import msgspec
from msgspec import Struct

from sandbox import weak
from sandbox.errors import JailError
from sandbox.interpreter import guest_path

_PROBE_S_MAX: Final = 30
_PROGRAM: Final = "import sys; sys.path[:0] = {path!r}; from sandbox.trial import answer; answer()"


class Layer(Struct, frozen=True):
    """One layer on this machine. `fix` says what to do where it is not available, and is empty otherwise.

    `needed`: without it, untrusted code is refused unless the operator allows that by name.
    """

    name: str
    available: bool
    detail: str
    fix: str
    needed: bool = True


def layers() -> list[Layer]:
    """Tries every layer. Blocks for some 200 ms; call it from a thread. Raises JailError if it cannot try."""
    if sys.platform != "linux":
        return _weaker(sys.platform)
    program = _PROGRAM.format(path=list(guest_path()))
    command = [sys.executable, "-s", "-S", "-P", "-c", program]
    done = subprocess.run(command, capture_output=True, timeout=_PROBE_S_MAX, check=False)
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise JailError("probe", f"cannot try the layers: {last}")
    return msgspec.json.decode(done.stdout, type=list[Layer])


def _weaker(platform: str) -> list[Layer]:
    """Of a system without a jail: what it refuses, and what it has all the same."""
    fix = (
        f'run the kernel on Linux, or in a VM; or say weak_sandbox = ["{weak.ALL}"] in kernos.toml, where you trust '
        "every program and package that you run"
    )
    kept = ", ".join(name.removeprefix("RLIMIT_") for name in weak.kept_limits())
    return [
        Layer("jail", False, f"{platform} has none of its layers: programs and tools are refused", fix),
        Layer("weaker level", True, f"{weak.HAS}; limits that this system keeps: {kept}", "", needed=False),
    ]


def main() -> None:
    """`python -m sandbox.probe --json`: the layers as a JSON list, for clients, which do not import this package."""
    if sys.argv[1:] != ["--json"]:
        sys.exit("usage: python -m sandbox.probe --json")
    sys.stdout.buffer.write(msgspec.json.encode(layers()))


if __name__ == "__main__":
    main()

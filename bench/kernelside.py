"""A kernel of the bench's own: in a folder that goes with it, reached by the blocking client or the async one."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def kernel(config: str = "", *, module: str = "kernel.boot") -> Iterator[Path]:
    """A running kernel with `config` as its kernos.toml; its socket. Raises RuntimeError with what it said if it
    fails. `module` boots it."""
    with tempfile.TemporaryDirectory(prefix="kernos-bench-") as made:
        folder = Path(made)
        (folder / "kernos.toml").write_text(config)
        read, write = os.pipe()
        where = ["--socket", str(folder / "k.sock"), "--state", str(folder / "state")]
        command = [sys.executable, "-m", module, *where, "--config", str(folder / "kernos.toml")]
        child = subprocess.Popen([*command, "--ready-fd", str(write)], pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as pipe:
            line = pipe.readline().strip()
        try:
            if line != "ready":
                raise RuntimeError(line or "the kernel died at the start")
            yield folder / "k.sock"
        finally:
            child.terminate()
            child.wait(timeout=30)


def table(rows: dict[str, float], units: dict[str, str] | None = None) -> None:
    """Prints figures one a line."""
    width = max(map(len, rows), default=0)
    for name, value in rows.items():
        print(f"{name:<{width}}  {value:>12,.3f} {(units or {}).get(name, '')}")

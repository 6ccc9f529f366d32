"""The `kernos` command as an OS process of its own, for end-to-end tests."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, final

SIM = 'default_model = "sim"\nembedding = "sim"\nstore = "memory"\n[models.sim]\norigin = "sim"\ndriver = "sim"\n'
KERNOS = [sys.executable, "-c", "from userland.cli.main import main; main()"]
_END_S_MAX = 60.0

PROGRAMS = '''
import sys as host

from kernos import Sys, program


@program
async def echo(sys: Sys, word: str, *, times: int = 1) -> list[str]:
    """Repeats WORD."""
    print("out", word)
    print("err", word, file=host.stderr)
    return [word] * times


@program
async def lines(sys: Sys) -> int:
    """Counts the lines it is told."""
    number = 0
    while (line := await sys.read_line()) is not None:
        number += 1
        print("got", line, flush=True)
    return number


@program
async def sleeper(sys: Sys) -> None:
    """Sleeps until it is ended."""
    print("sleeping", flush=True)
    await sys.sleep(1000)


@program
async def sums(sys: Sys) -> None:
    """Uses a tool."""
    await sys.call_tool("calculator", "calculate", expression="1+1")


@program
async def raises(sys: Sys) -> None:
    """Fails."""
    raise RuntimeError("no luck")


@program
async def peeks(sys: Sys, path: str) -> str:
    """Reads a file."""
    with open(path) as file:
        return file.read()
'''


@final
class CommandLine:
    """A home with its own state, socket and programs; `kernos(...)` runs one command in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = home / "k.sock"
        self.config = home / "kernos.toml"
        self.programs = home / "programs.py"
        self.config.write_text(SIM)
        self.programs.write_text(PROGRAMS)
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "KERNOS_"))},
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "NO_COLOR": "1",
            "OMP_NUM_THREADS": "1",
        }
        (home / "config" / "kernos").mkdir(parents=True)
        (home / "config" / "kernos" / "kernos.toml").write_text(SIM)

    def __call__(self, *words: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Runs a command to its end."""
        return subprocess.run(
            [*KERNOS, *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_END_S_MAX,
            check=False,
            env=self.environ,
            cwd=self.home,
        )

    def start(self, *words: object, **options: Any) -> "subprocess.Popen[str]":
        """Starts a command; the caller ends it."""
        return subprocess.Popen(
            [*KERNOS, *map(str, words)],
            text=True,
            env=self.environ,
            cwd=self.home,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def json(self, *words: object) -> Any:
        """What a command that must succeed prints as JSON."""
        done = self(*words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

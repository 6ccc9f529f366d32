"""What the quick commands import: a loop, a prompt or a model library would cost more than the command itself."""

import json
import subprocess
import sys

import pytest

from tests.kernelproc import kernel_up

HEAVY = frozenset(
    {
        "anyio", "apsw", "asyncio", "chromadb", "concurrent", "cryptography", "httpx", "logging", "multiprocessing",
        "numpy", "pluggy", "prompt_toolkit", "pyseccomp", "rich", "ssl", "subprocess", "tempfile", "tomllib", "torch",
        "transformers", "trio",
    }
)  # fmt: skip
OURS_FOR_HELP = frozenset(
    {
        "syscalls", "syscalls.errors", "syscalls.paths",
        "userland", "userland.cli", "userland.cli.failures", "userland.cli.group", "userland.cli.main",
        "userland.cli.options", "userland.cli.session",
    }
)  # fmt: skip
OURS_FOR_PS = OURS_FOR_HELP | {
    "syscalls.blobs", "syscalls.bulk", "syscalls.calls", "syscalls.calls.process", "syscalls.codec", "syscalls.flow",
    "syscalls.freeform", "syscalls.limits", "syscalls.worker_limits",
    "syscalls.link", "syscalls.link.blocking", "syscalls.peer", "syscalls.row", "syscalls.wire",
    "userland.cli.commands", "userland.cli.commands.ps", "userland.cli.output", "userland.cli.table",
    "userland.cli.values",
}  # fmt: skip
CONFIG = 'default_model = "sim"\nembedding = "sim"\nstore = "memory"\n[models.sim]\norigin = "sim"\ndriver = "sim"\n'

_PROGRAM = """
import atexit, json, sys
from userland.cli.main import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
main()
"""


def imported(*words: str) -> frozenset[str]:
    """The modules that a command line has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words], capture_output=True, text=True, check=True, timeout=60
    )
    return frozenset(json.loads(done.stderr.splitlines()[-1]))


def check(modules: frozenset[str], allowed: frozenset[str]) -> None:
    roots = {name.partition(".")[0] for name in modules}
    assert not roots & HEAVY
    ours = {
        name for name in modules if name.partition(".")[0] in ("syscalls", "userland", "kernel", "kernos", "sandbox")
    }
    assert ours <= allowed, f"also {sorted(ours - allowed)}: is each worth its milliseconds?"


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_imports_no_command(words: list[str]) -> None:
    check(imported(*words), OURS_FOR_HELP)


def test_ps_imports_a_socket_and_msgspec() -> None:
    with kernel_up(config=CONFIG) as kernel:
        modules = imported("ps", "--socket", str(kernel.socket))
    check(modules, frozenset(OURS_FOR_PS))
    assert "msgspec" in modules

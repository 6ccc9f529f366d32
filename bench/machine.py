"""The machine's own speed: a call, a program, the command line, sixteen agents. `python -m bench.machine [--quick]`.

Absolute figures are medians; `batching` is a ratio measured side by side: tokens a second of sixteen agents at once
over one alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Raw

from bench.kernelside import kernel, table
from syscalls.calls import clock, process
from syscalls.codec import pack
from syscalls.link.blocking import BlockingLink

AGENTS = 16
PROGRAM = """
from kernos import Sys, program, user

@program
async def nothing(sys: Sys) -> None:
    pass

@program
async def talks(sys: Sys, number: int) -> int:
    chat = await sys.open()
    await chat.append(user(f"What do the documents say about number {number}?"))
    answer = await chat.generate(max_tokens=96)
    return answer.usage.generated_tokens
"""
UNITS = {"call_us": "us", "program_ms": "ms", "cli_help_ms": "ms", "cli_ps_ms": "ms", "agents_16_tok_s": "tok/s"}
KERNOS = [sys.executable, "-P", "-c", "from userland.cli.main import main; main()"]


def milliseconds(action: Callable[[], object], rounds: int) -> float:
    """The median of so many rounds."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        took.append(1000 * (time.perf_counter() - began))
    return median(took)


def run(link: BlockingLink, program: str, *numbers: int) -> float:
    """Spawns one process for each number (or one without), waits for all; tokens they generated a second."""
    began = time.perf_counter()
    for each in [[number] for number in numbers] or [[]]:
        link.call(process.SPAWN, process.Spawn(program=program, args=Raw(pack(each))))
    tokens = 0
    for _ in numbers or (0,):
        ended: process.Exit = link.call(process.WAIT, process.Wait(timeout_s=300))
        assert ended.status == "done", ended.error
        tokens += msgspec.msgpack.decode(ended.value) or 0
    return tokens / (time.perf_counter() - began)


def measure(socket: Path, program: str, rounds: int) -> dict[str, float]:
    """The figures."""
    with BlockingLink.connect(str(socket)) as link:
        run(link, f"{program}:talks", 0)
        call_ms = milliseconds(lambda: [link.call(clock.NOW, clock.Now()) for _ in range(500)], rounds) / 500
        alone = median(run(link, f"{program}:talks", number) for number in range(rounds))
        together = median(run(link, f"{program}:talks", *range(AGENTS)) for _ in range(rounds))
        return {
            "call_us": 1000 * call_ms,
            "program_ms": milliseconds(lambda: run(link, f"{program}:nothing"), 4 * rounds),
            "cli_help_ms": milliseconds(lambda: _kernos("--help"), rounds),
            "cli_ps_ms": milliseconds(lambda: _kernos("ps", "--socket", str(socket)), rounds),
            "agents_16_tok_s": together,
            "batching": together / alone,
        }


def _kernos(*words: str) -> None:
    subprocess.run([*KERNOS, *words], check=True, capture_output=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.machine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--model", default="kernos-tiny", help="a folder to use instead")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "bench.py"
        program.write_text(PROGRAM)
        with kernel(f'[models.m]\norigin = "{chosen.model}"\n') as socket:
            figures = measure(socket, str(program), 5 if chosen.quick else 11)
    table(figures, UNITS)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

"""`python -m tests.fuzz [TARGET…]`: fuzzes each target for its share of $FUZZ_S seconds (60), from seeds.

A crash is anything but the typed refusals: another exception, a broken invariant, memory beyond the limit, a hang. Its
input is left in .work/fuzz/ and `python -m tests.fuzz TARGET FILE` runs it again. Longer by hand: FUZZ_S=3600; what is
found on the way is kept in .work/fuzz/TARGET and is where the next run begins.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import write_seeds

ROOT = Path(__file__).parents[2]
TARGETS = ("peer", "args", "gate")
MEMORY_MIB_MAX = 1024
HANG_S = 20


def main(argv: list[str]) -> int:
    """The exit status is how many targets crashed."""
    targets = [each for each in argv if each in TARGETS] or list(TARGETS)
    inputs = [each for each in argv if each not in TARGETS]
    seconds = max(1, int(os.environ.get("FUZZ_S", "60")) // len(targets))
    if any(not Path(each).is_file() for each in inputs):
        print(f"{__doc__}\nTargets: {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    return sum(_run(target, seconds, inputs) for target in targets)


def _run(target: str, seconds: int, inputs: list[str]) -> bool:
    work = ROOT / ".work" / "fuzz"
    found, seeds = work / target, work / f"{target}.seeds"
    found.mkdir(parents=True, exist_ok=True)
    write_seeds(target, seeds)
    words = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_MIB_MAX}",
        f"-timeout={HANG_S}",
        f"-artifact_prefix={work}/{target}-",
        "-max_len=4096",
        "-verbosity=0",
        "-print_final_stats=1",
        *(inputs or [str(found), str(seeds)]),
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.target", target, *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    stats = dict(line.removeprefix("stat::").split(":", 1) for line in ran.stderr.splitlines() if "stat::" in line)
    runs, peak = stats.get("number_of_executed_units", "?").strip(), stats.get("peak_rss_mb", "?").strip()
    print(f"{target:5} {'CRASHED' if ran.returncode else 'ok':8} {runs} inputs, at most {peak} MiB", flush=True)
    if ran.returncode:
        told = [line for line in ran.stderr.splitlines() if "Instrumenting" not in line]
        print("\n".join(told[-40:]), file=sys.stderr)
    return ran.returncode != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

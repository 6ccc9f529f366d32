"""What the sandbox costs: `python -m bench.sandbox [--quick] [--only PART…]`.

Absolute figures are medians over many workers; ratios are measured side by side, in turns, in one run.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.kernelside import table
from bench.sandbox import bubblewrap, hostile, mediated, programs, spawning

# The hostile ones last: the system goes on clearing up after them for a while.
PARTS: Final[dict[str, Callable[..., dict[str, float]]]] = {
    "spawning": spawning.measure,
    "programs": programs.measure,
    "bubblewrap": bubblewrap.measure,
    "mediated": mediated.measure,
    "hostile": hostile.measure,
}
TARGETS: Final = {
    "worker_ready_ms": "ms <= 4",
    "first_call_ms": "ms <= 8",
    "bwrap_speedup": ">= 8",
    "spawns_per_s": ">= 200",
    "worker_private_mib": "MiB <= 5",
    "hostile_slowdown": "% <= 20",
    "filter_overhead": "% <= 3",
    "mediated_open_us": "us <= 40",
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.sandbox", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer workers and rounds")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS), help="these parts")
    chosen = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="kernos-bench-") as folder:
        for name in chosen.only:
            figures |= PARTS[name](Path(folder), quick=chosen.quick)
    units = {name: name.rpartition("_")[2] for name in figures if name.endswith(("_us", "_ms", "_mib"))}
    table(figures, units | TARGETS)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

"""The ABI's figures, through the whole gate (right, account, trace): `python -m bench.abi [--quick] [--only PART…]`.

Ratios are measured side by side, in turns, in one run, both ends on one core; absolute figures are medians.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.abi import calls, processes, streams
from bench.abi.sides import pin
from bench.kernelside import table

PARTS: Final[dict[str, Callable[..., dict[str, float]]]] = {
    "calls": calls.measure,
    "streams": streams.measure,
    "processes": processes.measure,
}
TARGETS: Final = {
    "pingpong_ratio": "<= 4",
    "grpc_speedup": ">= 8",
    "program_ratio": "<= 9",
    "thread_speedup": ">= 6",
    "stream_efficiency_64": ">= 0.97",
    "relay_ratio": ">= 0.4",
    "process_kib": "KiB <= 25",
    "spawn_ratio": ">= 0.1",
    "spawn_many_ratio": ">= 0.25",
    "ps_10k_ms": "ms < 200",
    "trace_overhead": "% <= 5",
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.abi", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a tenth of the processes")
    parser.add_argument("--only", nargs="*", choices=sorted(PARTS), default=sorted(PARTS), help="these parts")
    chosen = parser.parse_args()
    pin()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="kernos-bench-") as folder:
        for name in chosen.only:
            figures |= PARTS[name](Path(folder), quick=chosen.quick)
    units = {name: "us" for name in figures if name.endswith("_us")}
    table(figures, units | TARGETS)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

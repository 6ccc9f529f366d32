"""The ABI's figures, through the whole gate (right, account, trace): `python -m bench.abi [--quick] [--only PART…]`.

Ratios are measured side by side, in turns, in one run, both ends on one core, and of calls in quiet rounds: where
others use the machine, absolute figures say little and ratios still something.
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
UNITS: Final = {"_us": "us", "_ms": "ms", "_kib": "KiB", "_s": "/s", "overhead": "%"}
AT_MOST, AT_LEAST = "at most", "at least"
TARGETS: Final = {
    "pingpong_ratio": (AT_MOST, 4.0),
    "grpc_speedup": (AT_LEAST, 8.0),
    "program_ratio": (AT_MOST, 9.0),
    "thread_speedup": (AT_LEAST, 6.0),
    "stream_efficiency_64": (AT_LEAST, 0.97),
    "relay_ratio": (AT_LEAST, 0.4),
    "process_kib": (AT_MOST, 25.0),
    "spawn_ratio": (AT_LEAST, 0.1),
    "spawn_many_ratio": (AT_LEAST, 0.25),
    "ps_10k_ms": (AT_MOST, 200.0),
    "trace_overhead": (AT_MOST, 5.0),
}


def verdict(name: str, value: float) -> str:
    """The unit, the target, and whether it is met."""
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
    if name not in TARGETS:
        return unit
    side, target = TARGETS[name]
    met = value <= target if side == AT_MOST else value >= target
    return f"{unit:<4} {side:<8} {target:>6g}  {'ok' if met else 'MISSED'}"


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
    table(figures, {name: verdict(name, value) for name, value in figures.items()})
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

"""A kernel whose trace is switched on by SIGUSR1 and off by SIGUSR2, otherwise `python -m kernel.boot`.

Two kernels differ by more than their configuration: where things lie in memory makes one of them slower by a few
percent, which is what is to be measured. So it is measured of one.
"""

import signal
import sys
from typing import Any

from kernel import assembly, boot
from kernel.gate import Gate


def main() -> int:
    """Boots and runs."""
    assembly.Gate = _switchable  # type: ignore[assignment, attr-defined]
    return boot.main()


def _switchable(*parts: Any, **named: Any) -> Gate:
    gate = Gate(*parts, **named)

    def switch(number: int, frame: object) -> None:
        gate.recorder.switch(number == signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, switch)
    signal.signal(signal.SIGUSR2, switch)
    return gate


if __name__ == "__main__":
    sys.exit(main())

"""The context table: conversations, who may see them, and what of them is on disk."""

from typing import final

from kernel.account import Accounts
from kernel.clock import Clock
from kernel.config import Bounds
from kernel.ports import Devices
from kernel.process import Process
from kernel.seal import Seals
from kernel.trace import Trace
from kernel.truth import Truth


@final
class Contexts:
    """All contexts of the machine."""

    def __init__(
        self,
        *,
        bounds: Bounds,
        clock: Clock,
        trace: Trace,
        truth: Truth,
        seals: Seals,
        devices: Devices,
        accounts: Accounts,
    ) -> None:
        self._bounds = bounds
        self._clock = clock
        self._trace = trace
        self._truth = truth
        self._seals = seals
        self._devices = devices
        self._accounts = accounts

    def names(self, context: int, process: Process) -> tuple[str, ...]:
        """The resource names by which `process` knows `context`. Raises NotFound (ENOENT)."""
        raise NotImplementedError

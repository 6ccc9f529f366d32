"""Limits of workers: what a child may be given of its parent's, and which of them a worker ran into."""

from dataclasses import dataclass
from typing import final

from msgspec.structs import replace

from syscalls.errors import Invalid, PermissionDenied
from syscalls.worker_limits import CallLimits, WorkerLimits, show_limit

BURST_S = 8.0
"""So many seconds' worth may be printed at once."""
LEAST = WorkerLimits(
    cpu_s=1, memory_bytes=64 << 20, processes=1, files=16, file_bytes=0, disk_bytes=0, output_bytes_s=1024
)
"""Below these no worker could say HELLO."""


def narrowed(ceiling: WorkerLimits, asked: WorkerLimits | None) -> WorkerLimits:
    """What a child of somebody under `ceiling` gets, who asks for `asked`: never more. Raises PermissionDenied (EPERM)
    for more, Invalid (EINVAL) for so little that nothing could run."""
    if asked is None:
        return ceiling
    given = {field: getattr(asked, field) for field in asked.__struct_fields__ if getattr(asked, field) is not None}
    for field, amount in given.items():
        most, least = getattr(ceiling, field), getattr(LEAST, field)
        if most is not None and amount > most:
            raise PermissionDenied(
                f"a limit of {show_limit(field, amount)} is more than the parent's, {show_limit(field, most)}; "
                "[limits] in kernos.toml has what sessions may give"
            )
        if amount < least:
            raise Invalid(f"a limit of {show_limit(field, amount)} is too little to start: {least} {field} at least")
    return replace(ceiling, **given)


def lowered(ceiling: WorkerLimits, limits: CallLimits) -> WorkerLimits:
    """The limits of a worker that is there for one call: `ceiling`, or the call's where those are less. Raises Invalid
    (EINVAL) for so little that nothing could run."""
    less = {
        field: amount
        for field in ("cpu_s", "memory_bytes")
        if (amount := getattr(limits, field)) is not None
        and ((most := getattr(ceiling, field)) is None or amount < most)
    }
    return narrowed(ceiling, WorkerLimits(**less))


@final
@dataclass(slots=True)
class Outflow:
    """What one worker prints: a bucket of BURST_S seconds' worth that fills again at its rate."""

    rate: float
    room: float = 0.0
    at_s: float = 0.0

    def take(self, count: int, now_s: float) -> bool:
        """Whether so much may still be printed."""
        most = self.rate * BURST_S
        self.room = most if not self.at_s else min(most, self.room + (now_s - self.at_s) * self.rate)
        self.at_s = now_s or 1e-9
        self.room -= count
        return self.room >= 0

"""Uses handles that are another process's: contexts, devices, files, pipes, by number."""

from kernos import Sys
from syscalls.errors import SyscallError

STOPPED_BY = "the gate: a handle is looked up among the caller's own"
ENDS = ("done",)

CALLS = (
    ("context.stat", "context"),
    ("device.close", "device"),
    ("file.close", "handle"),
    ("message.close", "pipe"),
)


async def abuse(sys: Sys) -> int:
    """How many went through."""
    through = 0
    for call, field in CALLS:
        for handle in range(64):
            try:
                await sys.call(call, **{field: handle})
            except (SyscallError, TypeError):
                continue
            through += 1
    return through

"""A system call under way: who makes it, what it costs, how it streams."""

from collections.abc import Awaitable, Callable
from typing import Any, final

from kernel.panic import KernelPanic
from kernel.process import Process
from kernel.trace import CallEntry
from syscalls.row import Row


@final
class Trap:
    """What a family handler is handed besides the arguments. The gate makes one per call and reads the costs from it.

    `emit(item)` streams one struct of the row's item type and never waits; it raises BrokenPipe (EPIPE) beyond the
    bound that is kept for a reader that does not read. `await room()` waits until the reader has taken what was
    emitted: for streams that may wait for their reader, as generations never do. `detail` stands for the result in the
    trace; `facts` (which model, how it ended) go beside it; `entry` is the call's own there, once it may wait.
    `require(action, names)` asks the gate for one more right, of a resource that only shows while the call runs (where
    a request is redirected to, say): it returns the right as text, or raises PermissionDenied (EPERM).
    """

    right = ""
    began_s = 0.0
    entry: CallEntry | None = None
    prompt_tokens = 0
    generated_tokens = 0
    queued_s = 0.0
    driver_s = 0.0
    detail = ""
    facts: dict[str, str] | None = None

    def __init__(
        self, *, process: Process, row: Row, emit: Callable[[Any], None], room: Callable[[], Awaitable[None]]
    ) -> None:
        self.process = process
        self.row = row
        self.emit = emit
        self.room = room
        self.require: Callable[[str, tuple[str, ...]], str] = _no_gate


def _no_gate(action: str, names: tuple[str, ...]) -> str:
    raise KernelPanic(f"no gate to ask for {action} on {names}")

"""A system call under way: who makes it, what it costs, how it streams."""

from collections.abc import Awaitable, Callable
from typing import Any, final

import trio

from kernel.capability import Capability
from kernel.panic import KernelPanic
from kernel.process import Process
from kernel.watch.callentry import CallEntry
from syscalls.row import Row


@final
class Trap:
    """What a family handler is handed besides the arguments. The gate makes one per call and reads the costs from it.

    `emit(item)` streams one struct of the row's item type and never waits; it raises BrokenPipe (EPIPE) beyond the
    bound that is kept for a reader that does not read. `await room()` waits until the reader has taken what was
    emitted: for streams that may wait for their reader, as generations never do. `detail` stands for the result in the
    trace; `facts` (which model, how it ended) go beside it; `entry` is the call's own there, once it may wait.
    `require(action, names)` asks the gate for one more right, of a resource that only shows while the call runs (where
    a request is redirected to, say): it returns the right as text, or raises PermissionDenied (EPERM). `admitted` let
    the call in; when one of them is revoked (`fallen`), `scope` is cancelled, and `withdrawn` says why.
    """

    admitted: tuple[Capability, ...] = ()
    fallen: Capability | None = None
    withdrawn = ""
    began_s = 0.0
    entry: CallEntry | None = None
    prompt_tokens = 0
    generated_tokens = 0
    queued_s = 0.0
    driver_s = 0.0
    detail = ""
    facts: dict[str, str] | None = None

    def __init__(
        self,
        *,
        process: Process,
        row: Row,
        emit: Callable[[Any], None],
        room: Callable[[], Awaitable[None]],
        scope: trio.CancelScope | None = None,
    ) -> None:
        self.process = process
        self.row = row
        self.emit = emit
        self.room = room
        self.scope = scope
        self.require: Callable[[str, tuple[str, ...]], str] = _no_gate

    @property
    def holder(self) -> Process:
        """Who makes it, as the table of capabilities says it."""
        return self.process

    @property
    def right(self) -> str:
        """The right that let it in, "" where none was needed."""
        return self.admitted[0].text if self.admitted else ""

    def withdraw(self, capability: Capability, why: str) -> None:
        """What let it in is no more: the call is cancelled and answered with EPERM and `why`."""
        if self.fallen is None:
            self.fallen, self.withdrawn = capability, why
        if self.scope is not None:
            self.scope.cancel()

    def closed(self) -> None:
        """The call was answered. What would lead back here is let go of: it goes now, and its arguments with it, not
        when garbage is sought, which is seldom."""
        self.require = _no_gate


def _no_gate(action: str, names: tuple[str, ...]) -> str:
    raise KernelPanic(f"no gate to ask for {action} on {names}")

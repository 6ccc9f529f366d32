"""Running programs from ordinary, synchronous tests."""

from collections.abc import Sequence
from typing import Any, final

import trio
import trio.testing

from kernos.testing.machine import InProcess
from kernos.testing.seeded import order
from syscalls.calls.kernel import TraceRecord
from syscalls.calls.process import Exit
from userland.sdk.child import ChildFailed
from userland.sdk.encoding import decode
from userland.sdk.program import Program

TIMEOUT_S = 3600.0


@final
class Kernel:
    """What the last `run` left: how it ended, what it printed, what the kernel recorded."""

    def __init__(self) -> None:
        self.exit: Exit | None = None
        self.printed = ""
        self.errors = ""
        self.trace: tuple[TraceRecord, ...] = ()

    def run(
        self,
        program: Program | str,
        *args: Any,
        script: Sequence[object] = (),
        stdin: Sequence[str] | None = None,
        timeout_s: float = TIMEOUT_S,
        seed: int = 0,
        spawn: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Boots a kernel, runs `program` (a decorated function or a name) and returns its value; raises ChildFailed.

        `script` is what the model says, `stdin` what is typed, `spawn` further arguments of `Sys.spawn` (kwargs,
        rights, budget, …), `options` those of InProcess. A program that has not ended after `timeout_s` of virtual
        time (nothing can happen any more) fails the test with TimeoutError. The same `seed` gives the same order of
        everything, and so the same trace.
        """
        clock = trio.testing.MockClock(autojump_threshold=0.0)
        options["seed"] = seed
        with order(seed):
            exit_: Exit = trio.run(
                self._run, program, args, script, stdin, timeout_s, spawn or {}, options, clock=clock
            )
        if exit_.status != "done":
            raise ChildFailed(exit_)
        return decode(exit_.value)

    def calls(self, prefix: str = "") -> list[str]:
        """The names of the system calls that were made, in the order in which they ended."""
        return [record.name for record in self.trace if record.kind == "call" and record.name.startswith(prefix)]

    async def _run(
        self,
        program: Program | str,
        args: tuple[Any, ...],
        script: Sequence[object],
        stdin: Sequence[str] | None,
        timeout_s: float,
        spawn: dict[str, Any],
        options: dict[str, Any],
    ) -> Exit:
        async with InProcess(script=script, **options) as machine:
            child = await machine.spawn(program, *args, **spawn)
            with trio.move_on_after(timeout_s):
                self.exit = await machine.ended(child, stdin=stdin)
                self.printed = await machine.printed(child.pid)
                self.errors = await machine.printed(child.pid, "stderr")
                self.trace = await machine.trace()
                return self.exit
            story = machine.machine.processes.get(child.pid).story
        raise TimeoutError(f"the program had not ended after {timeout_s:g} s of virtual time: {'; '.join(story)}")

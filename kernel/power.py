"""Power: how the machine is told to stop, and how the programs on it are ended."""

import os
import signal
from typing import final

import trio

from kernel.machine import Machine
from kernel.wait import first_of
from syscalls.signals import Signal

LOOK_S = 0.5


@final
class Switch:
    """Ctrl-C, SIGTERM and SIGHUP stop the machine in order, a second one at once: from before it is up until the truth
    is closed, so that none of them ever falls on a kernel that is half there."""

    def __init__(self) -> None:
        self._pressed = 0
        self._machine: Machine | None = None

    def attach(self, machine: Machine) -> None:
        """The machine is up; what was pressed meanwhile counts."""
        self._machine = machine
        self._tell()

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Waits for signals until cancelled."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as arriving:
            task_status.started()
            async for number in arriving:
                self._pressed += 1
                if self._machine is not None:
                    self._machine.trace.event("power", signal=signal.Signals(number).name)
                self._tell()

    async def follow(self, parent: int) -> None:
        """Stops the machine when its parent has ended, which only shows in that it has another then."""
        while True:
            await trio.sleep(LOOK_S)
            if os.getppid() != parent:
                break
        self._pressed += 1
        self._tell()

    def _tell(self) -> None:
        if self._machine is None or not self._pressed:
            return
        if self._machine.power.is_set() or self._pressed > 1:
            self._machine.grace_s = 0.0
            self._machine.hurry.set()
        self._machine.power.set()


async def stop_programs(machine: Machine) -> None:
    """TERM to every program, the grace time, then KILL."""
    machine.executor.grace_s = machine.grace_s
    for program in machine.processes:
        if program.kind == "program":
            machine.executor.signal(program, Signal.TERM)
    with trio.move_on_after(machine.grace_s):
        for program in machine.processes:
            if program.kind == "program":
                await first_of(program.ended.event, machine.hurry)
    for program in machine.processes:
        if program.kind == "program" and program.exit is None:
            machine.executor.signal(program, Signal.KILL)
            await program.ended.wait()

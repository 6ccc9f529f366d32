"""The kernel family: about the machine, what happened in it, and its end."""

import os

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.trap import Trap
from kernel.version import VERSION
from syscalls.calls import kernel as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid
from syscalls.limits import ABI_VERSION

_BATCH = 256


def info(machine: Machine, trap: Trap, args: abi.Info) -> abi.KernelInfo:
    return abi.KernelInfo(
        version=VERSION,
        abi=ABI_VERSION,
        pid=os.getpid(),
        uptime_s=machine.clock.now(),
        processes=sum(process.kind == "program" for process in machine.processes),
        policy=machine.scheduler.policy,
        socket=str(machine.config.socket_file),
        state_dir=str(machine.config.state_folder),
        calls=machine.trace.calls,
        denials=machine.trace.denials,
        faults=machine.trace.faults,
        tokens=machine.accounts.tokens,
        default_model=machine.devices.default,
    )


async def trace(machine: Machine, trap: Trap, args: abi.Trace) -> Nothing:
    since = args.since
    while True:
        newest = machine.trace.newest
        for sent, record in enumerate(machine.trace.since(since, args.pid), 1):
            trap.emit(record)
            if sent % _BATCH == 0:
                await trap.room()
        since = newest
        if not args.follow:
            return Nothing()
        if machine.trace.newest == newest:
            await machine.trace.changed()


async def shutdown(machine: Machine, trap: Trap, args: abi.Shutdown) -> Nothing:
    if not 0 <= args.grace_s <= 600:
        raise Invalid(f"a grace time of {args.grace_s} s: give 0 to 600")
    machine.grace_s = args.grace_s
    machine.power.set()
    return Nothing()


HANDLERS: dict[int, Handler] = {abi.INFO.number: info, abi.TRACE.number: trace, abi.SHUTDOWN.number: shutdown}

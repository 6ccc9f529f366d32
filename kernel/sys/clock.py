"""The time family: the kernel's clock, read and waited for."""

import math

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.trap import Trap
from syscalls.calls import clock as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid


def now(machine: Machine, trap: Trap, args: abi.Now) -> abi.Time:
    return abi.Time(monotonic_s=machine.clock.now(), unix_s=machine.clock.unix())


async def sleep(machine: Machine, trap: Trap, args: abi.Sleep) -> Nothing:
    if not math.isfinite(args.seconds) or args.seconds < 0:
        raise Invalid(f"sleep for {args.seconds} s: give a number of seconds, 0 or more")
    await machine.clock.sleep(args.seconds)
    return Nothing()


HANDLERS: dict[int, Handler] = {abi.NOW.number: now, abi.SLEEP.number: sleep}

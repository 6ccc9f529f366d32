"""The time family: the kernel's clock, read and waited for."""

import math

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.messages.alarm import LOOK_S
from kernel.messages.calendar import dates, intervals, latest_due
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


def alarm(machine: Machine, trap: Trap, args: abi.Alarm) -> abi.AlarmSet:
    clock = machine.clock
    if (args.seconds is None) == (args.unix_s is None):
        raise Invalid("an alarm takes seconds or unix_s, one of the two")
    if args.seconds is not None:
        if not math.isfinite(args.seconds) or args.seconds < 0:
            raise Invalid(f"an alarm in {args.seconds} s: give a number of seconds, 0 or more")
        return abi.AlarmSet(
            alarm=machine.alarms.after(trap.process, args.seconds), due_unix_s=clock.unix() + args.seconds
        )
    assert args.unix_s is not None
    if not math.isfinite(args.unix_s):
        raise Invalid(f"an alarm at {args.unix_s}: give seconds since 1970")
    return abi.AlarmSet(alarm=machine.alarms.at(trap.process, args.unix_s), due_unix_s=args.unix_s)


def cancel(machine: Machine, trap: Trap, args: abi.CancelAlarm) -> Nothing:
    machine.alarms.cancel(trap.process, args.alarm)
    return Nothing()


async def timer(machine: Machine, trap: Trap, args: abi.Timer) -> Nothing:
    if (args.every_s is None) == (args.calendar is None):
        raise Invalid("a timer takes every_s or calendar, one of the two")
    if args.count is not None and args.count < 1:
        raise Invalid(f"{args.count} ticks: give 1 or more, or none to go on")
    clock = machine.clock
    if args.every_s is not None:
        due, read, unix_ahead = intervals(args.every_s, clock.now()), clock.now, clock.unix() - clock.now()
    else:
        assert args.calendar is not None
        due, read, unix_ahead = dates(args.calendar, args.zone, clock.unix()), clock.unix, 0.0
    number, following = 0, next(due, None)
    while following is not None and (args.count is None or number < args.count):
        while (left := following - read()) > 0:  # a date's clock may be set meanwhile
            await clock.sleep(min(left, LOOK_S))
        latest, following, missed = await latest_due(due, following, read())
        number += 1
        trap.emit(abi.Tick(number=number, due_unix_s=latest + unix_ahead, missed=missed))
        await trap.room()
    return Nothing()


HANDLERS: dict[int, Handler] = {
    abi.NOW.number: now,
    abi.SLEEP.number: sleep,
    abi.ALARM.number: alarm,
    abi.TIMER.number: timer,
    abi.CANCEL.number: cancel,
}

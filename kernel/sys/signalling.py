"""Groups and signals, of the process family."""

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.process import Process
from kernel.signals import Signals, signal_of
from kernel.trap import Trap
from kernel.wait import within
from syscalls.calls import signalling as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid, NoSuchProcess, TimedOut
from syscalls.signals import Signal


def group(machine: Machine, trap: Trap, args: abi.Group) -> abi.Grouped:
    process = machine.processes.get(args.pid)
    if process.kind == "tool" or process.parent is None:
        raise Invalid(f"process {process.pid} ({process.name}) belongs to the kernel, and to no group")
    if args.group and args.group != process.pid:
        others = machine.processes.in_group(args.group)
        if not others:
            raise NoSuchProcess(f"no process is in group {args.group}: group 0 makes a new one")
        if any(other.principal != process.principal for other in others):
            raise Invalid(f"group {args.group} is another principal's")
    process.group = args.group or process.pid
    return abi.Grouped(group=process.group)


def signal(machine: Machine, trap: Trap, args: abi.SignalAction) -> Nothing:
    _signals(trap.process).choose(signal_of(args.signal), args.action)
    return Nothing()


async def sigwait(machine: Machine, trap: Trap, args: abi.SigWait) -> abi.Signalled:
    if len(args.signals) > len(Signal):
        raise Invalid(f"{len(args.signals)} signals to wait for: there are {len(Signal)}")
    wanted = tuple(signal_of(number) for number in args.signals)
    if not wanted:
        raise Invalid("no signals to wait for: name at least one")
    signals = _signals(trap.process)
    with within(args.timeout_s):
        while (found := signals.take(wanted)) is None:
            await signals.came.wait()
        return abi.Signalled(signal=int(found))
    raise TimedOut(f"none of {', '.join(number.name for number in wanted)} came in {args.timeout_s:g} s")


def _signals(process: Process) -> Signals:
    if process.signals is None:
        process.signals = Signals()
    return process.signals


HANDLERS: dict[int, Handler] = {
    abi.GROUP.number: group,
    abi.SIGNAL.number: signal,
    abi.SIGWAIT.number: sigwait,
}

"""The capability family: handles listed, made narrower, given, revoked; rights asked for, and the answers."""

import math

from kernel.capability import Capability
from kernel.gate import Handler
from kernel.machine import Machine
from kernel.trap import Trap
from kernel.watch.tracetext import short
from syscalls.calls import capability as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid, NoSuchProcess, NotFound
from syscalls.rights import Right


def list_(machine: Machine, trap: Trap, args: abi.ListOwn) -> abi.Held:
    owned = machine.processes.capabilities.owned(trap.process)
    return abi.Held(capabilities=tuple(describe(machine, each) for each in owned))


def held(machine: Machine, trap: Trap, args: abi.HeldBy) -> abi.Held:
    target = machine.processes.get(args.pid)
    owned = machine.processes.capabilities.owned(target)
    return abi.Held(capabilities=tuple(describe(machine, each) for each in owned))


def attenuate(machine: Machine, trap: Trap, args: abi.Attenuate) -> abi.CapabilityInfo:
    table, process = machine.processes.capabilities, trap.process
    right = None if args.right is None else Right.parse(args.right)
    source = table.mine(process, args.capability, right)
    made = table.derive(process, source, process, right, life_s=args.life_s, uses=args.uses, why="attenuated")
    return describe(machine, made)


def grant(machine: Machine, trap: Trap, args: abi.Grant) -> abi.CapabilityInfo:
    table, process = machine.processes.capabilities, trap.process
    target = machine.processes.get(args.pid)
    right = None if args.right is None else Right.parse(args.right)
    source = table.mine(process, args.capability, right)
    if target.exit is not None:
        raise NoSuchProcess(f"process {target.pid} ({target.name}) has ended")
    if target.parent is None or target is process:
        raise Invalid(f"process {target.pid} is {'the kernel' if target is not process else 'the caller itself'}")
    why = f"{short(args.why) or 'granted'}, by process {process.pid} ({process.name})"
    return describe(machine, table.derive(process, source, target, right, life_s=args.life_s, uses=args.uses, why=why))


def revoke(machine: Machine, trap: Trap, args: abi.Revoke) -> abi.Revoked:
    table, process = machine.processes.capabilities, trap.process
    found = table.get(args.capability)
    if found is None:
        raise NotFound(
            f"no capability {args.capability}; it may have ended. 'kernos caps PID' lists those of a process"
        )
    if found.parent is None:
        raise Invalid(f"capability {found.id} is the machine's own: 'kernos down' ends it")
    return abi.Revoked(
        capabilities=table.revoke(found, f"{short(args.why) or 'no reason given'}, by process {process.pid}")
    )


async def request(machine: Machine, trap: Trap, args: abi.Request) -> abi.CapabilityInfo:
    right = Right.parse(args.right)
    given = await machine.requests.ask(trap.process, right, reason=args.reason, wait_s=args.timeout_s)
    return describe(machine, machine.processes.capabilities.own(trap.process, given))


async def requests(machine: Machine, trap: Trap, args: abi.ListRequests) -> Nothing:
    since = 0
    while True:
        newest = machine.requests.version
        for info in machine.requests.changed_since(since):
            trap.emit(info)
            await trap.room()
        since = newest
        if not args.follow:
            return Nothing()
        if machine.requests.version == newest:
            await machine.requests.changed()


async def answer(machine: Machine, trap: Trap, args: abi.Answer) -> abi.RequestInfo:
    return await machine.requests.answer(args.request, args.allow, always=args.always, by=trap.process)


async def forget(machine: Machine, trap: Trap, args: abi.Forget) -> Nothing:
    await machine.requests.forget(args.request, by=trap.process)
    return Nothing()


def describe(machine: Machine, capability: Capability) -> abi.CapabilityInfo:
    """One capability as the ABI shows it."""
    above = capability.parent
    uses = [each.uses_left for each in capability.limited if each.uses_left is not None]
    left_s = capability.expires_s - machine.clock.now()
    return abi.CapabilityInfo(
        capability=capability.id,
        right=capability.text,
        pid=capability.holder,
        parent=above.id if above is not None else 0,
        giver=above.holder if above is not None else 0,
        left_s=None if left_s == math.inf else max(left_s, 0.0),
        uses_left=min(uses) if uses else None,
    )


HANDLERS: dict[int, Handler] = {
    abi.LIST.number: list_,
    abi.HELD.number: held,
    abi.ATTENUATE.number: attenuate,
    abi.GRANT.number: grant,
    abi.REVOKE.number: revoke,
    abi.REQUEST.number: request,
    abi.REQUESTS.number: requests,
    abi.ANSWER.number: answer,
    abi.FORGET.number: forget,
}

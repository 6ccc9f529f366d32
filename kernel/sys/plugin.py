"""The kernel family, continued: the system calls of installed packages, listed and served."""

from functools import partial
from typing import Any

import trio
from msgspec import Raw

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.sys.device import check_lent, lent, shown
from kernel.trap import Trap
from kernel.workers.plugins import Served
from syscalls.calls import plugin as abi
from syscalls.calls.device import ToolAnswer
from syscalls.codec import pack, unpack
from syscalls.errors import NotFound, SyscallError
from syscalls.turns import ToolSpec


async def calls(machine: Machine, trap: Trap, args: abi.ListCalls) -> abi.PluginCalls:
    there = [each for each in machine.plugins.calls() if args.package in (None, each.package)]
    if args.package is not None and machine.plugins.find(args.package) is None:
        raise NotFound(f"no package {args.package!r}; 'kernos pkg list' shows what is installed")
    told: dict[str, abi.PluginCall] = {}

    async def ask(served: Served) -> None:
        told[served.row.name] = await _told(served)

    async with trio.open_nursery() as nursery:  # one that does not come up is waited for, but once
        for each in there:
            nursery.start_soon(ask, each)
    return abi.PluginCalls(calls=tuple(told[each.row.name] for each in there))


async def _told(served: Served) -> abi.PluginCall:
    spec: ToolSpec | None = None
    error = ""
    try:
        spec = await served.spec()
    except SyscallError as failed:
        error = failed.message
    row = served.row
    assert row.needs is not None, "every call of a package names a right"
    return abi.PluginCall(
        name=row.name,
        number=row.number,
        package=served.package,
        version=served.version,
        right=f"{row.needs.resource} {row.needs.action}",
        spec=spec,
        error=error,
    )


async def serve(machine: Machine, trap: Trap, args: dict[str, Any]) -> ToolAnswer:
    """A call of a package: its worker answers, with the package's rights and those that the caller lends."""
    served = machine.plugins.call(trap.row.name)
    numbers = _lending(args)
    began = machine.clock.now()
    spec = await served.spec()
    given = Raw(pack({name: value for name, value in args.items() if name != abi.LEND}))
    lend = partial(lent, machine, trap.process, numbers, trap.row.name)
    answered = await served.tool.call(trap.process, spec.name, given, lend)
    value = bytes(answered.value)
    trap.driver_s = machine.clock.now() - began
    text = shown(value)
    trap.facts = {"package": served.package}
    trap.detail = f"{text} (sandboxed worker {answered.worker})"
    return ToolAnswer(value=Raw(value), text=text)


def _lending(args: dict[str, Any]) -> tuple[int, ...]:
    """The capabilities that the caller lends. Raises Invalid (EINVAL)."""
    if abi.LEND not in args:
        return ()
    numbers: tuple[int, ...] = unpack(tuple[int, ...], args[abi.LEND])
    check_lent(numbers)
    return numbers


HANDLERS: dict[int, Handler] = {abi.CALLS.number: calls}

"""The device family: the registry, and calls of tools."""

import trio
from msgspec import Raw

from kernel.gate import Handler
from kernel.machine import Machine
from kernel.tool import as_text
from kernel.trap import Trap
from kernel.wait import seconds
from syscalls.calls import device as abi
from syscalls.codec import unpack
from syscalls.errors import TimedOut
from syscalls.limits import FREE_FORM_BYTES_MAX

_PLAIN = frozenset(b"\xc4\xc5\xc6\xd9\xda\xdb")
"""How msgpack begins a text or bytes of some length."""


def list_(machine: Machine, trap: Trap, args: abi.ListDevices) -> abi.Devices:
    shown = (device for device in machine.devices.devices() if args.kind in (None, device.kind))
    return abi.Devices(devices=tuple(shown))


async def call(machine: Machine, trap: Trap, args: abi.CallTool) -> abi.ToolAnswer:
    trap.facts = {"tool": f"{args.device}.{args.method}"}
    tool = machine.devices.tool(args.device)
    with trio.move_on_after(seconds(args.timeout_s)):
        began = machine.clock.now()
        value = await tool.call(args.method, args.arguments)
        trap.driver_s = machine.clock.now() - began
        text = _shown(bytes(value))
        worker = tool.process.worker_pid if tool.process else 0
        trap.detail = f"{text} (sandboxed worker {worker})"
        return abi.ToolAnswer(value=Raw(bytes(value)), text=text)
    raise TimedOut(f"{args.device}.{args.method} did not answer in {args.timeout_s:g} s")


def _shown(value: bytes) -> str:
    """An answer as text for a model. One that is large and not simply text is only told of: as objects it would take
    up to eighty times its size."""
    if len(value) > FREE_FORM_BYTES_MAX and value[0] not in _PLAIN:
        return f"<an answer of {len(value)} bytes>"
    return as_text(unpack(object, value))


HANDLERS: dict[int, Handler] = {abi.LIST.number: list_, abi.CALL.number: call}

"""The device family: the registry, handles, and calls of tools and of collections of a store."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from msgspec import Raw

from kernel.gate import Handler
from kernel.handles import Handle
from kernel.machine import Machine
from kernel.process import Process
from kernel.sys.collection import METHODS, collection_of, use
from kernel.trap import Trap
from kernel.wait import within
from kernel.workers.parsers import Named
from kernel.workers.tool import as_text
from syscalls.calls import device as abi
from syscalls.calls.process import Nothing
from syscalls.codec import unpack
from syscalls.errors import Invalid, TimedOut
from syscalls.limits import FREE_FORM_BYTES_MAX

LENT_MAX = 16
_PLAIN = frozenset(b"\xc4\xc5\xc6\xd9\xda\xdb")
"""How msgpack begins a text or bytes of some length."""


def list_(machine: Machine, trap: Trap, args: abi.ListDevices) -> abi.Devices:
    listed = (device for device in machine.devices.devices() if args.kind in (None, device.kind))
    return abi.Devices(devices=tuple(listed))


async def open_(machine: Machine, trap: Trap, args: abi.OpenDevice) -> abi.OpenedDevice:
    kind = machine.devices.kind(args.device)
    if kind == "store":
        return _open_collection(machine, trap, args)
    if kind != "tool":
        raise Invalid(f"{args.device} is a device of kind {kind}: tools and stores are opened so, see 'kernos man'")
    if args.collection:
        raise Invalid(f"{args.device} is a tool: only stores have collections")
    tool = machine.devices.tool(args.device)
    await tool.describe()
    handle = machine.handles.open(trap.process, args.device, kind="tool", alone=args.exclusive)
    return abi.OpenedDevice(handle=handle.number, kind="tool", methods=tool.methods, streaming=tool.streaming)


def _open_collection(machine: Machine, trap: Trap, args: abi.OpenDevice) -> abi.OpenedDevice:
    if not args.collection:
        raise Invalid(f"{args.device} is a store: name a collection of yours")
    collection = collection_of(trap.process.principal, args.collection)
    name = machine.devices.store_name
    handle = machine.handles.open(trap.process, name, kind="store", collection=collection, alone=args.exclusive)
    return abi.OpenedDevice(handle=handle.number, kind="store", methods=METHODS)


async def call(machine: Machine, trap: Trap, args: abi.CallTool) -> abi.ToolAnswer:
    held = _admitted(machine, trap, args)
    with within(args.timeout_s):
        began = machine.clock.now()
        if held is not None and held.kind == "store":
            value = await use(machine, trap.process, held.collection, args.method, args.arguments)
            by = args.device
        else:
            tool = machine.devices.tool(args.device)
            lend = partial(lent, machine, trap.process, args.lend, f"{args.device}.{args.method}")
            value, worker = await tool.call(trap.process, args.method, args.arguments, lend, args.limits)
            by = f"sandboxed worker {worker}"
        trap.driver_s = machine.clock.now() - began
        text = shown(bytes(value))
        trap.detail = f"{text} ({by})"
        return abi.ToolAnswer(value=Raw(bytes(value)), text=text)
    raise TimedOut(f"{args.device}.{args.method} did not answer in {args.timeout_s:g} s")


async def stream(machine: Machine, trap: Trap, args: abi.CallTool) -> abi.ToolStreamed:
    """Takes an item from the tool when the reader has taken the one before."""
    _admitted(machine, trap, args)
    if machine.devices.is_store(args.device):
        raise Invalid("a store yields nothing: use device.call")
    items = 0

    async def take(value: bytes) -> None:
        nonlocal items
        trap.emit(abi.ToolItem(value=Raw(value), text=shown(value)))
        items += 1
        await trap.room()

    with within(args.timeout_s):
        lend = partial(lent, machine, trap.process, args.lend, f"{args.device}.{args.method}")
        tool = machine.devices.tool(args.device)
        await tool.stream(trap.process, args.method, args.arguments, take, lend, args.limits)
        return abi.ToolStreamed(items=items)
    raise TimedOut(f"{args.device}.{args.method} had not ended in {args.timeout_s:g} s")


def close(machine: Machine, trap: Trap, args: abi.CloseDevice) -> Nothing:
    machine.handles.close(trap.process, args.handle)
    return Nothing()


def parsers(machine: Machine, trap: Trap, args: abi.ListParsers) -> abi.ParserTable:
    return abi.ParserTable(parsers=tuple(_of_parser(each) for each in machine.plugins.parsers.all()))


async def parse(machine: Machine, trap: Trap, args: abi.ParseDocument) -> abi.ParsedDocument:
    began = machine.clock.now()
    text = await machine.plugins.parsers.parse(trap.process, args.parser, args.file, args.data)
    trap.driver_s = machine.clock.now() - began
    trap.detail = f"{len(text)} characters of {len(args.data)} bytes"
    return abi.ParsedDocument(text=text)


def _of_parser(named: Named) -> abi.ParserInfo:
    return abi.ParserInfo(
        name=named.name,
        package=named.package.name,
        version=named.package.record.manifest.version,
        suffixes=named.parser.suffixes,
        types=named.parser.types,
    )


def _admitted(machine: Machine, trap: Trap, args: abi.CallTool) -> Handle | None:
    """The handle of a call that names one. Raises Busy, NotFound, Invalid."""
    if args.limits is not None and machine.devices.is_store(args.device):
        raise Invalid(f"{args.device} is a store: only calls of tools have limits")
    check_lent(args.lend)
    if args.lend and machine.devices.is_store(args.device):
        raise Invalid(f"{args.device} is a store: capabilities are lent to tools alone")
    trap.facts = {"tool": f"{args.device}.{args.method}"}
    if not args.handle:
        if machine.devices.is_store(args.device):
            raise Invalid(f"{args.device} is a store: open a collection of it, and call by the handle")
        machine.handles.admit(trap.process, args.device)
        return None
    held = machine.handles.get(trap.process, args.handle)
    same = held.device == args.device or (held.kind == "store" and machine.devices.is_store(args.device))
    if not same:
        raise Invalid(f"handle {args.handle} is on {held.device}, not on {args.device}")
    return held


def check_lent(numbers: tuple[int, ...]) -> None:
    """Raises Invalid (EINVAL) for more than a call lends."""
    if len(numbers) > LENT_MAX:
        raise Invalid(f"{len(numbers)} capabilities lent with one call: {LENT_MAX} at most")


@contextmanager
def lent(machine: Machine, caller: Process, numbers: tuple[int, ...], name: str, tool: Process) -> Iterator[int]:
    """The channel of a tool's calls while it serves `name`, with what the caller lends until the block ends. Raises
    PermissionDenied (EPERM) for a capability that is another's."""
    if not numbers:
        yield tool.pid
        return
    table = machine.processes.capabilities
    chosen = [table.mine(caller, number, None) for number in numbers]
    what = f"{name}, called by process {caller.pid} ({caller.name})"
    given = tuple(table.lend(caller, each, tool.pid, f"for {what}") for each in chosen)
    channel = tool.borrow(given)
    try:
        yield channel
    finally:
        tool.give_back(channel)
        for each in given:
            table.revoke(each, f"{what}, is over")


def shown(value: bytes) -> str:
    """An answer as text for a model. One that is large and not simply text is only told of: as objects it would take
    up to eighty times its size."""
    if len(value) > FREE_FORM_BYTES_MAX and value[0] not in _PLAIN:
        return f"<an answer of {len(value)} bytes>"
    return as_text(unpack(object, value))


HANDLERS: dict[int, Handler] = {
    abi.LIST.number: list_,
    abi.CALL.number: call,
    abi.OPEN.number: open_,
    abi.STREAM.number: stream,
    abi.CLOSE.number: close,
    abi.PARSERS.number: parsers,
    abi.PARSE.number: parse,
}

"""System calls of installed packages, as a program makes them, and as a model is given them: as tools."""

from collections.abc import Container, Mapping, Sequence
from itertools import chain, count
from typing import Any, final

from syscalls.calls import capability
from syscalls.calls import plugin as abi
from syscalls.calls.device import ToolAnswer
from syscalls.calls.plugin import PLUGIN_NAME, PluginCall, plugin_row
from syscalls.errors import Invalid, NoSyscall, SyscallError
from syscalls.rights import Right, allowed
from syscalls.row import Row
from syscalls.table import BY_NAME
from syscalls.turns import ToolCall, ToolSpec
from userland.sdk.capability import Handle
from userland.sdk.device import ToolReply
from userland.sdk.door import Door
from userland.sdk.encoding import decode

_FAMILIES = frozenset(name.partition(".")[0] for name in BY_NAME)


def row_of(name: str) -> Row:
    """The row of a package's call, to be sent by name. Raises NoSyscall (ENOSYS) for what can be none."""
    if PLUGIN_NAME.fullmatch(name) and name.partition(".")[0] not in _FAMILIES:
        return plugin_row(name)
    raise NoSyscall(f"there is no system call {name!r}; see 'kernos man'")


async def call(door: Door, name: str, arguments: Mapping[str, Any], lend: Sequence[Handle] = ()) -> ToolReply:
    """Makes a package's call, with what is lent to it. Raises PermissionDenied (EPERM) without `syscall:NAME call`,
    NoSyscall, what it failed with; Invalid (EINVAL) for arguments that would lend: they may be a model's, and what is
    lent is the program's to say."""
    if abi.LEND in arguments:
        raise Invalid(f"{name} has no argument {abi.LEND!r}: capabilities are lent by the program, with call_lend")
    given = {**arguments, abi.LEND: [each.id for each in lend]} if lend else dict(arguments)
    answer: ToolAnswer = await door.call(row_of(name), given)
    return ToolReply(decode(answer.value), answer.text)


@final
class PluginCalls:
    """The calls that there were and that this process may make, for `sys.open(tools=…)`, and `await calls(tool_call)`
    for what the model then asks; `by_tool` has them by the names that a model knows."""

    def __init__(self, door: Door, found: tuple[PluginCall, ...], rights: tuple[Right, ...]) -> None:
        self._door = door
        self.calls = tuple(
            each
            for each in found
            if each.spec is not None and allowed(rights, "call", (f"syscall:{each.name}",)) is not None
        )
        self.by_tool: dict[str, PluginCall] = {}
        for each in self.calls:
            self.by_tool[free_name(tool_name(each.name), self.by_tool)] = each

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What a model is told: a tool's name has no dot."""
        return tuple(
            ToolSpec(name, each.spec.description, each.spec.parameters)
            for name, each in self.by_tool.items()
            if each.spec is not None
        )

    async def invoke(self, name: str, arguments: Mapping[str, Any]) -> ToolReply:
        """Makes the call `PACKAGE.CALL` with arguments that somebody else chose. Raises as Sys.call_plugin does."""
        return await call(self._door, name, arguments)

    async def __call__(self, asked: ToolCall) -> str:
        """The text for the model; whatever is wrong with what it asked is a line that begins with `error:`."""
        found = self.by_tool.get(asked.name)
        if found is None:
            return f"error: there is no tool {asked.name}; there are {', '.join(self.by_tool)}"
        try:
            return (await self.invoke(found.name, asked.arguments)).text
        except SyscallError as failed:
            return f"error: {failed.message}"


async def listed(door: Door, package: str | None = None) -> PluginCalls:
    """Those that there are now. Raises PermissionDenied (EPERM) without `syscall:* list`."""
    found: abi.PluginCalls = await door.call(abi.CALLS, abi.ListCalls(package=package))
    held: capability.Held = await door.call(capability.LIST, capability.ListOwn())
    return PluginCalls(door, found.calls, tuple(Right.parse(each.right) for each in held.capabilities))


def free_name(wanted: str, taken: Container[str]) -> str:
    """A tool's name, with a number where another has it already: who brings one of a name that is there takes none of
    the calls that are meant for that."""
    return next(name for name in chain([wanted], (f"{wanted}_{n}" for n in count(2))) if name not in taken)


def tool_name(call_name: str) -> str:
    """What a model calls it: letters, digits and '_'."""
    return call_name.replace(".", "_").replace("-", "_")

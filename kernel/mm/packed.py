"""Turns and tools as conversations keep them: what a tool was asked, and what it takes, are values of any shape, and
stay as they crossed the wire. As objects they would take up to a hundred times as much, in each of thousands of
conversations; the kernel hands them on and never looks inside."""

from typing import Any, cast

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from syscalls.turns import Part, ToolCall, ToolSpec, Turn

PLAIN_BYTES = 64
"""Up to here a value is left as it is."""
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def packed(turn: Turn) -> Turn:
    """The same turn, for whoever encodes it, with what its calls ask for packed."""
    return replace(turn, parts=tuple(map(_packed_part, turn.parts))) if turn.calls else turn


def packed_tools(tools: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
    """The same tools, for whoever encodes them, with their schemas packed."""
    return tuple(replace(tool, parameters=_packed(tool.parameters)) for tool in tools)


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """What a call asks for, as objects."""
    arguments: object = call.arguments
    return msgspec.msgpack.decode(arguments, type=dict[str, Any]) if isinstance(arguments, Raw) else call.arguments


def _packed_part(part: Part) -> Part:
    return replace(part, arguments=_packed(part.arguments)) if isinstance(part, ToolCall) else part


def _packed(value: dict[str, Any]) -> dict[str, Any]:
    """Only encoders see it from here on, and they say the same of either."""
    data = _ENCODER.encode(value)
    return value if len(data) <= PLAIN_BYTES else cast(dict[str, Any], Raw(data))

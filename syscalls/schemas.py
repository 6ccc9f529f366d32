"""The ABI as one JSON document, for clients in other languages: frames, calls with their types, flags, errors, signals.

Types are JSON Schemas of the very structs that check the calls; `$defs` holds each once. What is a
`string` with `contentEncoding: base64` there is a `bin` on the wire, and a schema without a type stands for any
msgpack value. Structs of calls are maps by field name; frames are arrays in the order of `fields`, their kind first.
"""

from typing import Any

import msgspec
from msgspec import Struct

from syscalls import limits, wire
from syscalls.errors import CLASS_OF, Errno
from syscalls.jsonschema import Schemas
from syscalls.row import Flag, Row
from syscalls.signals import Signal
from syscalls.table import RESERVED, TABLE

FRAMES: tuple[type[Struct], ...] = (
    wire.Hello, wire.Call, wire.Reply, wire.Error, wire.Items, wire.End, wire.Credit, wire.Cancel, wire.Event,
    wire.Chunk, wire.Bye,
)  # fmt: skip


def document() -> dict[str, Any]:
    """The whole of it, as plain data."""
    rows = [TABLE[number] for number in sorted(TABLE)]
    kinds = {kind: None for row in rows for kind in (row.args, row.result, row.item) if kind is not None}
    schemas = Schemas(list(kinds))
    return {
        "abi": limits.ABI_VERSION,
        "frames": [frame_layout(frame) for frame in FRAMES],
        "limits": _limits(),
        "flags": [flag.name for flag in Flag],
        "errors": {errno.name: {"number": int(errno), "meaning": meaning(errno)} for errno in Errno},
        "signals": {signal.name: int(signal) for signal in Signal},
        "reserved": {f"0x{number:02X}": name for number, name in sorted(RESERVED.items())},
        "calls": [_call(row, schemas) for row in rows],
        "$defs": schemas.defs,
    }


def frame_layout(frame: type[Struct]) -> dict[str, Any]:
    """A frame as an array: its kind, and the fields after it in order; those with a default may be left out at the
    end."""
    fields = msgspec.structs.fields(frame)
    return {
        "name": frame.__name__,
        "kind": frame.__struct_config__.tag,
        "doc": " ".join((frame.__doc__ or "").split()),
        "fields": [{"name": field.name, "required": field.required} for field in fields],
    }


def meaning(errno: Errno) -> str:
    """What an errno means wherever it comes from."""
    return " ".join((CLASS_OF[errno].__doc__ or "").split()).partition(": ")[2]


def _call(row: Row, schemas: Schemas) -> dict[str, Any]:
    return {
        "number": row.number,
        "name": row.name,
        "doc": row.doc,
        "right": None if row.needs is None else {"action": row.needs.action, "resource": row.needs.resource},
        "also": None if row.also is None else {"action": row.also.action, "resource": row.also.resource},
        "flags": [flag.name for flag in Flag if flag in row.flags],
        "args": schemas.ref(row.args),
        "result": None if row.result is None else schemas.ref(row.result),
        "item": None if row.item is None else schemas.ref(row.item),
        "waits": row.says.waits,
        "cancelled": row.says.cancelled,
        "costs": row.says.costs,
        "errors": {errno.name: text for errno, text in row.says.errors},
    }


def _limits() -> dict[str, Any]:
    client: dict[str, Any] = msgspec.to_builtins(limits.CLIENT_LIMITS)
    return {**client, "stream_credit": limits.STREAM_CREDIT}

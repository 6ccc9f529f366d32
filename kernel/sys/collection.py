"""A store as programs use it: collections of their principal's own, apart from those that the kernel keeps of pages."""

import hashlib
from typing import Any

from msgspec import Raw

from kernel.hosts.ports import StorePort
from kernel.machine import Machine
from kernel.process import Process
from syscalls.calls import device as abi
from syscalls.codec import pack, unpack
from syscalls.errors import Invalid, NotFound
from syscalls.turns import ToolSpec

ROWS_MAX = 4096
K_MAX = 1000
_IDS = {"type": "array", "items": {"type": "string"}}
METHODS = (
    ToolSpec(
        "add",
        "Inserts or replaces: `vectors` is one vector of float32, little-endian, for each id, one after another.",
        {"type": "object", "properties": {"ids": _IDS, "vectors": {"type": "string"}}, "required": ["ids", "vectors"]},
    ),
    ToolSpec(
        "query",
        "The `k` ids nearest to `vector` by cosine, best first, among `only` if given.",
        {
            "type": "object",
            "properties": {"vector": {"type": "string"}, "k": {"type": "integer"}, "only": _IDS},
            "required": ["vector"],
        },
    ),
    ToolSpec("delete", "Deletes these ids, or without them all.", {"type": "object", "properties": {"ids": _IDS}}),
    ToolSpec("ids", "All ids."),
)


def collection_of(principal: str, name: str) -> str:
    """What the store calls a program's collection. The kernel's own begin with `p-`."""
    return "u-" + hashlib.sha256(f"{principal}\0{name}".encode()).hexdigest()[:40]


async def use(machine: Machine, caller: Process, collection: str, method: str, arguments: Raw) -> Raw:
    """One call of a collection of the caller's principal. Raises NotFound for an unknown method, Invalid for arguments
    that do not fit, OverQuota for what would be too much."""
    store = machine.devices.store()
    match method:
        case "add":
            return await _add(machine, caller, collection, _read(abi.AddVectors, arguments))
        case "query":
            return await _query(store, collection, _read(abi.QueryVectors, arguments))
        case "delete":
            asked: abi.DeleteVectors = _read(abi.DeleteVectors, arguments)
            await machine.shelves.delete(collection, caller.principal, caller.account, asked.ids)
            return Raw(pack(None))
        case "ids":
            return Raw(pack(await store.ids(collection)))
    raise NotFound(f"a store has no method {method!r}; it has: {', '.join(spec.name for spec in METHODS)}")


async def _add(machine: Machine, caller: Process, collection: str, asked: abi.AddVectors) -> Raw:
    if not 1 <= len(asked.ids) <= ROWS_MAX:
        raise Invalid(f"{len(asked.ids)} ids: 1 to {ROWS_MAX} at once")
    await machine.shelves.add(collection, caller.principal, caller.account, asked.ids, asked.vectors)
    return Raw(pack(None))


async def _query(store: StorePort, collection: str, asked: abi.QueryVectors) -> Raw:
    if not 1 <= asked.k <= K_MAX:
        raise Invalid(f"k {asked.k}: 1 to {K_MAX}")
    hits = await store.query(collection, asked.vector, asked.k, only=asked.only)
    return Raw(pack({"ids": hits.ids, "scores": hits.scores}))


def _read(kind: type[Any], arguments: Raw) -> Any:
    return unpack(kind, arguments if bytes(arguments) != b"\xc0" else Raw(b"\x80"))

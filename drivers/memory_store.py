"""The store that holds its vectors in memory and searches them exactly: for tests, and where nothing may be written.

Pure Python, so that it runs wherever the kernel does. A search over 1,000 vectors of 384 numbers takes tens of
milliseconds; a collection of more than some thousands wants `chroma`. The origin is only a name; what was stored ends
with the host, and `ids` says so.
"""

import heapq
from array import array
from operator import mul
from typing import final

import anyio.lowlevel

from drivers.vectors import FLOAT_BYTES, check_dimensions, dimensions_of, floats_of, size_of, unit
from syscalls.driver import (
    Ids,
    Kind,
    Open,
    Opened,
    Sized,
    StoreAdd,
    StoreDelete,
    StoreHits,
    StoreIds,
    StoreQuery,
    StoreSize,
)
from syscalls.errors import Invalid
from syscalls.hooks import Device, hookimpl

CAN = ("add", "query", "delete", "ids", "only", "exact")


@final
class MemoryStore:
    """Collections of unit vectors by id."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, array[float]]] = {}
        self.opened = Opened(device=0, can=CAN, detail={"kept": "in memory", "search": "exact"})

    async def add(self, call: StoreAdd, /) -> None:
        await anyio.lowlevel.checkpoint()
        if not call.ids:
            return
        dimensions = dimensions_of(len(call.ids), call.vectors)
        values = floats_of(call.vectors)
        rows = self._collections.get(call.collection, {})
        check_dimensions(call.collection, has=_dimensions(rows), got=dimensions)
        for n, each in enumerate(call.ids):
            rows[each] = unit(values[n * dimensions : (n + 1) * dimensions])
        self._collections[call.collection] = rows

    async def query(self, call: StoreQuery, /) -> StoreHits:
        await anyio.lowlevel.checkpoint()
        rows = self._collections.get(call.collection, {})
        if call.k < 1:
            raise Invalid(f"k is {call.k}: ask for at least 1")
        wanted = unit(floats_of(call.vector))
        check_dimensions(call.collection, has=_dimensions(rows), got=len(call.vector) // FLOAT_BYTES)
        among = rows if call.only is None else {each: rows[each] for each in call.only if each in rows}
        scored = ((sum(map(mul, wanted, row)), each) for each, row in among.items())
        best = heapq.nsmallest(call.k, ((-score, each) for score, each in scored))
        return StoreHits(ids=tuple(each for _, each in best), scores=tuple(-score for score, _ in best))

    async def delete(self, call: StoreDelete, /) -> None:
        await anyio.lowlevel.checkpoint()
        if call.ids is None:
            self._collections.pop(call.collection, None)
            return
        rows = self._collections.get(call.collection, {})
        for each in call.ids:
            rows.pop(each, None)

    async def ids(self, call: StoreIds, /) -> Ids:
        await anyio.lowlevel.checkpoint()
        return Ids(ids=tuple(sorted(self._collections.get(call.collection, {}))))

    async def size(self, call: StoreSize, /) -> Sized:
        await anyio.lowlevel.checkpoint()
        rows = self._collections.get(call.collection, {})
        ids = rows if call.ids is None else {each for each in call.ids if each in rows}
        return Sized(bytes=size_of(ids, _dimensions(rows)))

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._collections.clear()


def _dimensions(rows: "dict[str, array[float]]") -> int:
    return len(next(iter(rows.values()), ()))


@final
class MemoryDriver:
    """Opens stores in memory; each device has its own collections."""

    name = "memory"
    kinds: tuple[Kind, ...] = ("store",)

    async def open(self, call: Open, /) -> Device:
        await anyio.lowlevel.checkpoint()
        if call.options:
            raise Invalid(f"memory takes no options, not {', '.join(sorted(call.options))}")
        return MemoryStore()


@hookimpl
def kernos_driver() -> MemoryDriver:
    """The store in memory."""
    return MemoryDriver()

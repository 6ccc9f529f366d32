"""A store that keeps vectors in one file of SQLite, and finds the nearest by looking at all of a collection.

Python and nothing else: good for some thousand vectors a collection. What `add` has acknowledged is on disk.
"""

import math
import sqlite3
from collections.abc import Iterator
from operator import mul
from pathlib import Path

import anyio
import anyio.to_thread

from kernos.hooks import Device, hookimpl
from syscalls.driver import (
    Ids,
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

TABLE = """
CREATE TABLE IF NOT EXISTS vectors (
    collection TEXT, id TEXT, vector BLOB, PRIMARY KEY (collection, id)
) WITHOUT ROWID
"""


class Store:
    """One file. SQLite does its work in a thread, one call at a time."""

    opened = Opened(device=0, can=("add", "query", "delete", "ids", "only", "durable"), detail={"kept": "in SQLite"})

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file
        self._one = anyio.Lock()

    async def add(self, call: StoreAdd, /) -> None:
        if call.ids:
            async with self._one:
                await anyio.to_thread.run_sync(self._add, call)

    async def query(self, call: StoreQuery, /) -> StoreHits:
        async with self._one:
            return await anyio.to_thread.run_sync(self._query, call)

    async def delete(self, call: StoreDelete, /) -> None:
        async with self._one:
            await anyio.to_thread.run_sync(self._delete, call)

    async def ids(self, call: StoreIds, /) -> Ids:
        async with self._one:
            return Ids(ids=await anyio.to_thread.run_sync(self._ids, call.collection))

    async def size(self, call: StoreSize, /) -> Sized:
        async with self._one:
            return Sized(bytes=await anyio.to_thread.run_sync(self._size, call))

    async def close(self) -> None:
        async with self._one:
            self._file.close()

    def _add(self, call: StoreAdd) -> None:
        pieces = list(split(call.vectors, len(call.ids)))
        self._check(call.collection, len(pieces[0]))
        rows = [(call.collection, each, piece) for each, piece in zip(call.ids, pieces, strict=True)]
        with self._file:
            self._file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def _query(self, call: StoreQuery) -> StoreHits:
        if call.k < 1:
            raise Invalid(f"k is {call.k}: ask for at least 1")
        (piece,) = split(call.vector, 1)
        self._check(call.collection, len(piece))
        wanted, among = unit(piece), None if call.only is None else set(call.only)
        rows = self._file.execute("SELECT id, vector FROM vectors WHERE collection = ?", (call.collection,))
        scored = [(-sum(map(mul, wanted, unit(row))), each) for each, row in rows if among is None or each in among]
        best = sorted(scored)[: call.k]
        return StoreHits(ids=tuple(each for _, each in best), scores=tuple(-score for score, _ in best))

    def _delete(self, call: StoreDelete) -> None:
        with self._file:
            if call.ids is None:
                self._file.execute("DELETE FROM vectors WHERE collection = ?", (call.collection,))
            else:
                rows = [(call.collection, each) for each in call.ids]
                self._file.executemany("DELETE FROM vectors WHERE collection = ? AND id = ?", rows)

    def _ids(self, collection: str) -> tuple[str, ...]:
        rows = self._file.execute("SELECT id FROM vectors WHERE collection = ? ORDER BY id", (collection,))
        return tuple(each for (each,) in rows)

    def _size(self, call: StoreSize) -> int:
        among = None if call.ids is None else set(call.ids)
        rows = self._file.execute("SELECT id, length(vector) FROM vectors WHERE collection = ?", (call.collection,))
        return sum(len(each.encode()) + size for each, size in rows if among is None or each in among)

    def _check(self, collection: str, size: int) -> None:
        """Raises Invalid for a vector of another length than those that are there."""
        row = self._file.execute("SELECT length(vector) FROM vectors WHERE collection = ?", (collection,)).fetchone()
        if row is not None and row[0] != size:
            raise Invalid(f"the collection holds vectors of {row[0] // 4} numbers, not {size // 4}")


def split(data: bytes, count: int) -> Iterator[bytes]:
    """The bytes of each vector. Raises Invalid for what are not `count` vectors of float32."""
    if not data or len(data) % (4 * count):
        raise Invalid(f"{len(data)} bytes are not {count} vectors of float32")
    size = len(data) // count
    return (data[at : at + size] for at in range(0, len(data), size))


def unit(piece: bytes) -> list[float]:
    """The numbers of a vector, scaled to length 1."""
    numbers = memoryview(piece).cast("f").tolist()
    length = math.hypot(*numbers) or 1.0
    return [number / length for number in numbers]


class Driver:
    """Opens stores: the origin is the folder of the file."""

    name, kinds = "sqlite-store", ("store",)

    async def open(self, call: Open, /) -> Device:
        if call.options:
            raise Invalid(f"sqlite-store takes no options, not {', '.join(call.options)}")
        folder = Path(call.origin)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = sqlite3.connect(folder / "vectors.sqlite", check_same_thread=False, isolation_level="IMMEDIATE")
        file.execute(TABLE)
        return Store(file)


@hookimpl
def kernos_driver() -> Driver:
    """The store of this package."""
    return Driver()

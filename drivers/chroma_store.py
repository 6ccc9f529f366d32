"""The chroma driver: vectors on disk, one chroma collection per collection, in a thread of its own.

The origin is a folder. Ids and vectors are all that is stored: the kernel's SQLite file is the truth, and what a crash
takes from the store is added again. What cannot be read any more is dropped or set aside; `ids` tells what is there.
"""

import sys
from pathlib import Path
from typing import Any, final

from drivers.lane import Lane
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
from syscalls.errors import Invalid, NotFound
from syscalls.hooks import Device, hookimpl

CAN = ("add", "query", "delete", "ids", "only", "durable")


@final
class ChromaStore:
    """One database folder. `collections` is only touched in the lane."""

    def __init__(self, lane: Lane, collections: Any, *, detail: dict[str, str]) -> None:
        self._lane = lane
        self._collections = collections
        self._closed = False
        self.opened = Opened(device=0, can=CAN, detail=detail)

    async def add(self, call: StoreAdd, /) -> None:
        await self._lane.run(lambda: self._collections.add(call))

    async def query(self, call: StoreQuery, /) -> StoreHits:
        hits: StoreHits = await self._lane.run(lambda: self._collections.query(call))
        return hits

    async def delete(self, call: StoreDelete, /) -> None:
        await self._lane.run(lambda: self._collections.delete(call))

    async def ids(self, call: StoreIds, /) -> Ids:
        return Ids(ids=await self._lane.run(lambda: self._collections.ids(call.collection)))

    async def size(self, call: StoreSize, /) -> Sized:
        return Sized(bytes=await self._lane.run(lambda: self._collections.size(call)))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._lane.run(self._collections.close)
            self._lane.close()


@final
class ChromaDriver:
    """Opens database folders; makes one that is not there."""

    name = "chroma"
    kinds: tuple[Kind, ...] = ("store",)

    async def open(self, call: Open, /) -> Device:
        if call.options:
            raise Invalid(f"chroma takes no options, not {', '.join(sorted(call.options))}")
        if not call.origin:
            raise Invalid("chroma needs a folder for its database as its origin")
        lane = Lane("chroma")
        try:
            collections, detail = await lane.run(lambda: _open(call.origin))
        except BaseException:
            lane.close()
            raise
        return ChromaStore(lane, collections, detail=detail)


def _open(origin: str) -> tuple[Any, dict[str, str]]:
    """The database and what there is to say of it. The first of all calls that import chromadb."""
    try:
        import chromadb
    except ImportError as missing:
        raise NotFound(
            f"the chroma store needs chromadb ({missing}): pip install 'kernos[chroma]', or say store = \"memory\""
        ) from None
    from drivers.chroma.collections import Collections
    from drivers.chroma.folder import open_folder

    client, aside = open_folder(origin)
    detail = {"library": f"chromadb {chromadb.__version__}", "folder": origin}
    if aside is not None:
        detail["set_aside"] = str(aside)
        print(f"chroma: the database in {origin} could not be read; it is now {aside}", file=sys.stderr)
    return Collections(client, Path(origin)), detail


@hookimpl
def kernos_driver() -> ChromaDriver:
    """The vector store on disk."""
    return ChromaDriver()

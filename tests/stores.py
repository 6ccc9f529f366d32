"""What the tests of stores share: vectors, and a store of each kind."""

import math
import random
import struct

from drivers.loading import load
from syscalls.driver import Open, StoreAdd, StoreIds, StoreQuery
from syscalls.hooks import StoreDevice

DIMENSIONS = 16


def vector(seed: int, dimensions: int = DIMENSIONS) -> bytes:
    """A unit vector that depends on `seed` alone."""
    rng = random.Random(seed)
    values = [rng.gauss(0, 1) for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in values))
    return struct.pack(f"<{dimensions}f", *(value / length for value in values))


def rows(first: int, count: int, *, collection: str = "pages") -> StoreAdd:
    """An add of `count` rows named by their seeds."""
    seeds = range(first, first + count)
    return StoreAdd(
        device=0, collection=collection, ids=tuple(f"p{n}" for n in seeds), vectors=b"".join(map(vector, seeds))
    )


def near(seed: int, k: int, only: tuple[str, ...] | None = None, *, collection: str = "pages") -> StoreQuery:
    """A query for what is nearest to the vector of `seed`."""
    return StoreQuery(device=0, collection=collection, vector=vector(seed), k=k, only=only)


async def store_of(driver: str, origin: str) -> StoreDevice:
    """An open store."""
    device: StoreDevice = await load(driver).open(Open(kind="store", origin=origin))  # type: ignore[assignment]
    return device


async def ids_of(store: StoreDevice, collection: str = "pages") -> tuple[str, ...]:
    """All ids of a collection."""
    return (await store.ids(StoreIds(device=0, collection=collection))).ids

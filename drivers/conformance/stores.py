"""What a store keeps to."""

import math
import struct

from drivers.conformance.checks import Check, check, expect, needs
from drivers.conformance.every import checks_for
from drivers.conformance.rig import Rig, device
from syscalls import driver as abi
from syscalls.errors import Errno

CHECKS: list[Check] = checks_for("store")
DIMENSIONS = 8


def vector(n: int) -> bytes:
    """A unit vector; different numbers give different directions."""
    values = [math.sin(1 + n * 1.7 + axis * (1 + n % 5)) for axis in range(DIMENSIONS)]
    length = math.hypot(*values)
    return struct.pack(f"<{DIMENSIONS}f", *(value / length for value in values))


async def add(rig: Rig, collection: str, numbers: range) -> None:
    args = abi.StoreAdd(
        device=rig.opened.device,
        collection=collection,
        ids=tuple(f"v{n:03}" for n in numbers),
        vectors=b"".join(vector(n) for n in numbers),
    )
    await rig.link.call(abi.ADD, args)


async def ids(rig: Rig, collection: str) -> tuple[str, ...]:
    found: abi.Ids = await rig.link.call(abi.IDS, abi.StoreIds(device=rig.opened.device, collection=collection))
    return found.ids


async def size(rig: Rig, collection: str, which: tuple[str, ...] | None = None) -> int:
    args = abi.StoreSize(device=rig.opened.device, collection=collection, ids=which)
    found: abi.Sized = await rig.link.call(abi.SIZE, args)
    return found.bytes


async def query(rig: Rig, collection: str, n: int, k: int, only: tuple[str, ...] | None = None) -> abi.StoreHits:
    args = abi.StoreQuery(device=rig.opened.device, collection=collection, vector=vector(n), k=k, only=only)
    hits: abi.StoreHits = await rig.link.call(abi.QUERY, args)
    return hits


async def delete(rig: Rig, collection: str, which: tuple[str, ...] | None) -> None:
    args = abi.StoreDelete(device=rig.opened.device, collection=collection, ids=which)
    await rig.link.call(abi.DELETE, args)


@check("store", CHECKS)
async def finds_what_was_added(rig: Rig) -> None:
    """A vector's nearest is itself with cosine 1; hits come best first."""
    await add(rig, "found", range(40))
    for n in (0, 17, 39):
        hits = await query(rig, "found", n, 5)
        expect(hits.ids[0] == f"v{n:03}", f"v{n:03} is not its own nearest but {hits.ids[0]}")
        expect(abs(hits.scores[0] - 1.0) < 1e-3, f"cosine with itself is {hits.scores[0]:.5f}")
        expect(list(hits.scores) == sorted(hits.scores, reverse=True), "hits are not best first")
        expect(len(hits.ids) == len(hits.scores) == 5, f"{len(hits.ids)} hits of 5")


@check("store", CHECKS)
async def adding_again_replaces(rig: Rig) -> None:
    """The same id twice is one entry, with the vector that came last."""
    await add(rig, "again", range(5))
    await add(rig, "again", range(5))
    expect(await ids(rig, "again") == tuple(f"v{n:03}" for n in range(5)), "adding again is not idempotent")
    moved = abi.StoreAdd(device=rig.opened.device, collection="again", ids=("v000",), vectors=vector(30))
    await rig.link.call(abi.ADD, moved)
    expect((await query(rig, "again", 30, 1)).ids == ("v000",), "the old vector is still there")


@check("store", CHECKS)
async def ids_are_complete(rig: Rig) -> None:
    """`ids` gives all, sorted; nothing for a collection that is not there."""
    await add(rig, "ids", range(12))
    expect(await ids(rig, "ids") == tuple(f"v{n:03}" for n in range(12)), "other ids than were added")
    expect(await ids(rig, "never made") == (), "ids in a collection that is not there")
    expect((await query(rig, "never made", 1, 3)).ids == (), "hits in a collection that is not there")


@check("store", CHECKS)
async def sizes_are_exact(rig: Rig) -> None:
    """`size` counts each id as UTF-8 and four bytes for each number, once: of all, or of what there is of `ids`."""
    expect(await size(rig, "sized") == 0, "what is not there takes room")
    await add(rig, "sized", range(7))
    await add(rig, "sized", range(5, 9))
    row = len("v000") + 4 * DIMENSIONS
    expect(await size(rig, "sized") == 9 * row, f"9 rows of {row} bytes take {await size(rig, 'sized')}")
    some = await size(rig, "sized", ("v001", "v008", "v001", "nobody"))
    expect(some == 2 * row, f"2 rows of {row} bytes take {some}")
    odd = abi.StoreAdd(device=rig.opened.device, collection="sized", ids=("ä",), vectors=vector(1))
    await rig.link.call(abi.ADD, odd)
    expect(await size(rig, "sized", ("ä",)) == 2 + 4 * DIMENSIONS, "an id is not counted as UTF-8")
    await delete(rig, "sized", ("v001", "nobody"))
    expect(await size(rig, "sized") == 8 * row + 2 + 4 * DIMENSIONS, "what was deleted takes room")
    await delete(rig, "sized", None)
    expect(await size(rig, "sized") == 0, "what is gone takes room")


@check("store", CHECKS)
async def only_among(rig: Rig) -> None:
    """`only` bounds what is found; ids that are not there do not matter."""
    await add(rig, "only", range(20))
    hits = await query(rig, "only", 3, 10, ("v004", "v005", "nobody"))
    expect(sorted(hits.ids) == ["v004", "v005"], f"found {hits.ids}")
    expect((await query(rig, "only", 3, 10, ())).ids == (), "found something among nothing")


@check("store", CHECKS)
async def deletes(rig: Rig) -> None:
    """Deleting takes what is there, twice is once, and None takes the collection."""
    await add(rig, "gone", range(6))
    for _ in range(2):
        await delete(rig, "gone", ("v001", "v003", "nobody"))
        expect(await ids(rig, "gone") == ("v000", "v002", "v004", "v005"), "other ids are left")
    expect("v001" not in (await query(rig, "gone", 1, 6)).ids, "a deleted vector is found")
    for _ in range(2):
        await delete(rig, "gone", None)
        expect(await ids(rig, "gone") == (), "the collection is still there")


@check("store", CHECKS)
async def collections_are_apart(rig: Rig) -> None:
    """What is added to one collection is in no other, whatever they are called."""
    names = ("apart", "Apart", "a/p:a rt", "äpart", "x" * 100)
    for n, name in enumerate(names):
        await add(rig, name, range(n, n + 1))
    for n, name in enumerate(names):
        expect(await ids(rig, name) == (f"v{n:03}",), f"collection {name!r} holds {await ids(rig, name)}")


@check("store", CHECKS)
async def wrong_shapes(rig: Rig) -> None:
    """Vectors that do not fit their ids, or the collection, are EINVAL."""
    await add(rig, "shape", range(2))
    at = rig.opened.device
    wrong = [
        (abi.ADD, abi.StoreAdd(device=at, collection="shape", ids=("a", "b"), vectors=vector(1)[:-2])),
        (abi.ADD, abi.StoreAdd(device=at, collection="shape", ids=("a",), vectors=vector(1)[:-4])),
        (abi.QUERY, abi.StoreQuery(device=at, collection="shape", vector=vector(1)[:-4], k=1)),
    ]
    for row, args in wrong:
        refused = await rig.error_of(row, args)
        expect(refused is not None and refused.errno is Errno.EINVAL, f"{row.name}: answered with {refused!r}")


@check("store", CHECKS)
async def outlives_its_host(rig: Rig) -> None:
    """What was acknowledged is there in another host, after this one's device was closed."""
    needs(rig, "durable")
    await add(rig, "kept", range(7))
    await rig.link.call(abi.CLOSE, abi.Device(device=rig.opened.device))
    try:
        async with device(rig.subject) as other:
            expect(await ids(other, "kept") == tuple(f"v{n:03}" for n in range(7)), "ids were lost")
            expect((await query(other, "kept", 2, 1)).ids == ("v002",), "vectors were lost")
    finally:
        rig.opened = await rig.open()

"""Both stores, by the same tests: what is added is found, replaced, deleted, and bad input is refused."""

import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.loading import load
from syscalls.driver import Open, StoreAdd, StoreDelete, StoreQuery
from syscalls.errors import Invalid
from syscalls.hooks import StoreDevice
from tests.stores import ids_of, near, rows, store_of, vector


@pytest.fixture(params=["memory", "chroma"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreDevice]:
    if request.param == "chroma":
        pytest.importorskip("chromadb")
    device = await store_of(request.param, str(tmp_path / "db"))
    yield device
    await device.close()
    await device.close()


async def test_every_row_is_found_first_by_its_own_vector_at_once(store: StoreDevice) -> None:
    for first in range(0, 200, 20):
        await store.add(rows(first, 20))
        for n in range(first, first + 20):
            hits = await store.query(near(n, 3))
            assert hits.ids[0] == f"p{n}"
            assert hits.scores[0] == pytest.approx(1.0, abs=1e-5)
            assert list(hits.scores) == sorted(hits.scores, reverse=True)
    assert len(await ids_of(store)) == 200


async def test_scores_are_cosines_whatever_the_length(store: StoreDevice) -> None:
    pairs = struct.pack("<6f", 2.0, 0.0, 0.0, 3.0, -4.0, 0.0)
    await store.add(StoreAdd(device=0, collection="plane", ids=("east", "north", "west"), vectors=pairs))
    query = StoreQuery(device=0, collection="plane", vector=struct.pack("<2f", 5.0, 0.0), k=9)
    hits = await store.query(query)
    assert hits.ids == ("east", "north", "west")
    assert hits.scores == pytest.approx((1.0, 0.0, -1.0), abs=1e-6)


async def test_adding_again_replaces_and_never_doubles(store: StoreDevice) -> None:
    await store.add(rows(0, 5))
    await store.add(rows(0, 5))
    await store.add(StoreAdd(device=0, collection="pages", ids=("p0",), vectors=vector(77)))
    assert await ids_of(store) == ("p0", "p1", "p2", "p3", "p4")
    assert (await store.query(near(77, 1))).ids == ("p0",)


async def test_the_last_of_the_same_id_in_one_add_counts(store: StoreDevice) -> None:
    both = StoreAdd(device=0, collection="pages", ids=("x", "x"), vectors=vector(1) + vector(2))
    await store.add(both)
    hits = await store.query(near(2, 5))
    assert hits.ids == ("x",)
    assert hits.scores[0] == pytest.approx(1.0, abs=1e-5)


async def test_only_narrows(store: StoreDevice) -> None:
    await store.add(rows(0, 50))
    assert set((await store.query(near(3, 5, ("p9", "p8", "none")))).ids) == {"p9", "p8"}
    assert (await store.query(near(3, 5, ()))).ids == ()


async def test_deleted_rows_are_gone_and_the_rest_stays(store: StoreDevice) -> None:
    await store.add(rows(0, 30))
    await store.delete(StoreDelete(device=0, collection="pages", ids=("p3", "p29", "never")))
    assert len(await ids_of(store)) == 28
    for n in range(30):
        found = (await store.query(near(n, 1))).ids == (f"p{n}",)
        assert found == (n not in (3, 29))


async def test_a_collection_can_be_dropped_and_others_stay(store: StoreDevice) -> None:
    await store.add(rows(0, 3))
    await store.add(rows(0, 3, collection="other"))
    await store.delete(StoreDelete(device=0, collection="pages"))
    await store.delete(StoreDelete(device=0, collection="pages"))
    assert await ids_of(store) == ()
    assert (await store.query(near(0, 2))).ids == ()
    assert len(await ids_of(store, "other")) == 3
    await store.add(StoreAdd(device=0, collection="pages", ids=("new",), vectors=vector(1, 8)))
    assert await ids_of(store) == ("new",)


NAMES = ("a", "Pages/of Zoë", "..", "x" * 600, "p-" + "0" * 40, "sha256-" + "0" * 64, "A", "", "pages.", "10.0.0.1")


async def test_any_name_is_a_collection_of_its_own(store: StoreDevice) -> None:
    for n, name in enumerate(NAMES):
        await store.add(StoreAdd(device=0, collection=name, ids=(f"row{n}",), vectors=vector(n)))
    for n, name in enumerate(NAMES):
        assert await ids_of(store, name) == (f"row{n}",)


async def test_what_does_not_exist_is_empty(store: StoreDevice) -> None:
    assert await ids_of(store, "nowhere") == ()
    assert (await store.query(near(1, 3, collection="nowhere"))).ids == ()
    await store.delete(StoreDelete(device=0, collection="nowhere", ids=("a",)))
    await store.add(StoreAdd(device=0, collection="nowhere", ids=(), vectors=b""))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (StoreAdd(device=0, collection="pages", ids=("a",), vectors=b"123"), "float32"),
        (StoreAdd(device=0, collection="pages", ids=("a", "b"), vectors=vector(1)[:-4]), "as many"),
        (StoreAdd(device=0, collection="pages", ids=("a",), vectors=b""), "as many"),
        (StoreAdd(device=0, collection="pages", ids=("a",), vectors=vector(1, 8)), "of 16 numbers, not 8"),
        (StoreAdd(device=0, collection="pages", ids=("a",), vectors=b"\x00\x00\xc0\x7f" * 16), "NaN"),
        (StoreQuery(device=0, collection="pages", vector=vector(1), k=0), "at least 1"),
        (StoreQuery(device=0, collection="pages", vector=vector(1, 8), k=1), "of 16 numbers, not 8"),
    ],
)
async def test_bad_input_is_refused_and_changes_nothing(
    store: StoreDevice, bad: StoreAdd | StoreQuery, said: str
) -> None:
    await store.add(rows(0, 2))
    with pytest.raises(Invalid, match=said):
        await (store.add(bad) if isinstance(bad, StoreAdd) else store.query(bad))
    assert await ids_of(store) == ("p0", "p1")


@pytest.mark.parametrize("name", ["memory", "chroma"])
async def test_options_that_do_not_exist_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no options, not speed"):
        await load(name).open(Open(kind="store", origin=str(tmp_path), options={"speed": "11"}))

"""The chroma store through its host: SIGKILL while it writes, databases that are broken, folders that cannot be one."""

import shutil
import sqlite3
from pathlib import Path
from typing import final

import msgspec
import pytest
import trio

from drivers.conformance.rig import Rig, Subject, device
from syscalls import driver as abi
from syscalls.errors import BrokenPipe, Invalid, IOFailed, PermissionDenied
from tests.stores import ids_of, near, rows, store_of, vector

pytest.importorskip("chromadb")

KILLS = 4
ADDS = 10
BATCH = 40


@final
class Writer:
    """Adds in flight all at once; SIGKILL at the nth acknowledgement, while the host works on the rest."""

    def __init__(self, rig: Rig, *, kill_at: int) -> None:
        self._rig = rig
        self._kill_at = kill_at
        self.acknowledged: list[str] = []
        self.cut = 0

    async def run(self, first: int) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(ADDS):
                nursery.start_soon(self._add, addressed(self._rig, rows(first + n * BATCH, BATCH)))

    async def _add(self, call: abi.StoreAdd) -> None:
        try:
            await self._rig.link.call(abi.ADD, call)
        except BrokenPipe:
            self.cut += 1
            return
        self.acknowledged.extend(call.ids)
        if len(self.acknowledged) == self._kill_at * BATCH:
            self._rig.process.kill()


def addressed(rig: Rig, call: abi.StoreAdd) -> abi.StoreAdd:
    return msgspec.structs.replace(call, device=rig.opened.device)


@pytest.mark.slow
async def test_sigkill_during_adds_loses_no_acknowledged_row_or_reports_the_collection_without_it(
    tmp_path: Path,
) -> None:
    subject = Subject(driver="chroma", kind="store", origin=str(tmp_path / "db"))
    truth: list[str] = []
    cut = 0
    for round_ in range(KILLS):
        async with device(subject) as rig:
            truth += await _missing_added_again(rig, truth)
            writer = Writer(rig, kill_at=1 + 2 * round_)
            await writer.run(round_ * 100_000)
            cut += writer.cut
            truth += writer.acknowledged
    assert cut > 0, "not one kill of them all hit an add: this run proved nothing"
    async with device(subject) as rig:
        await _missing_added_again(rig, truth)
        for each in truth[:: len(truth) // 20]:
            query = msgspec.structs.replace(near(int(each[1:]), 1), device=rig.opened.device)
            hits: abi.StoreHits = await rig.link.call(abi.QUERY, query)
            assert hits.ids == (each,)


async def _missing_added_again(rig: Rig, truth: list[str]) -> list[str]:
    """What the kernel does after a restart: `ids` must show every acknowledged row, or a collection begun anew."""
    found: abi.Ids = await rig.link.call(abi.IDS, abi.StoreIds(device=rig.opened.device, collection="pages"))
    there = set(found.ids)
    missing = [each for each in truth if each not in there]
    assert not missing or not there, f"{len(missing)} of {len(truth)} acknowledged rows are gone unseen"
    for each in missing:
        await rig.link.call(abi.ADD, addressed(rig, rows(int(each[1:]), 1)))
    return sorted(there - set(truth))


async def test_a_collection_whose_index_cannot_be_read_is_dropped_and_others_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = await store_of("chroma", str(tmp_path))
    await store.add(rows(0, 20))
    await store.add(rows(0, 20, collection="other"))
    await store.close()
    with sqlite3.connect(tmp_path / "chroma.sqlite3") as database:
        topic = _topic(database, "pages")
        database.execute("UPDATE embeddings_queue SET vector = x'00' WHERE topic = ?", (topic,))
    database.close()
    store = await store_of("chroma", str(tmp_path))
    assert await ids_of(store) == ()
    assert "collection pages" in capsys.readouterr().err
    assert len(await ids_of(store, "other")) == 20
    await store.add(rows(0, 20))
    assert len(await ids_of(store)) == 20
    assert (await store.query(near(7, 1))).ids == ("p7",)
    await store.close()


def _topic(database: sqlite3.Connection, name: str) -> str:
    ((found,),) = database.execute("SELECT id FROM collections WHERE name = ?", (name,))
    ((topic,),) = database.execute("SELECT DISTINCT topic FROM embeddings_queue WHERE topic LIKE ?", (f"%{found}",))
    return str(topic)


async def test_a_collection_that_breaks_in_use_refuses_adds_until_its_ids_were_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chromadb.errors import InternalError

    store = await store_of("chroma", str(tmp_path))
    await store.add(rows(0, 5))
    from chromadb.api.models.Collection import Collection

    def broken(*_: object, **__: object) -> None:
        raise InternalError("Failed to apply logs to the hnsw segment writer")

    with monkeypatch.context() as patched:
        patched.setattr(Collection, "upsert", broken)
        with pytest.raises(IOFailed, match="ask for its ids"):
            await store.add(rows(5, 5))
    with pytest.raises(IOFailed, match="ask for its ids"):
        await store.add(rows(5, 5))
    assert (await store.query(near(1, 1))).ids == ()
    assert await ids_of(store) == ()
    await store.add(rows(0, 10))
    assert len(await ids_of(store)) == 10
    await store.close()


async def test_a_full_disk_costs_nothing_but_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chromadb.api.models.Collection import Collection
    from chromadb.errors import InternalError

    store = await store_of("chroma", str(tmp_path))
    await store.add(rows(0, 5))

    def full(*_: object, **__: object) -> None:
        raise InternalError("error returned from database: (code: 13) database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Collection, "upsert", full)
        with pytest.raises(IOFailed, match="make room"):
            await store.add(rows(5, 5))
    await store.add(rows(5, 5))
    assert len(await ids_of(store)) == 10
    await store.close()


@pytest.mark.parametrize("garbage", [b"not a database at all" * 200, b"SQLite format 3\x00" + b"\xff" * 4096])
async def test_an_unreadable_database_is_set_aside_and_a_new_one_begun(tmp_path: Path, garbage: bytes) -> None:
    folder = tmp_path / "db"
    for n in (1, 2):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "chroma.sqlite3").write_bytes(garbage)
        store = await store_of("chroma", str(folder))
        aside = tmp_path / f"db.unreadable-{n}"
        assert store.opened.detail["set_aside"] == str(aside)
        assert (aside / "chroma.sqlite3").read_bytes() == garbage
        assert await ids_of(store) == ()
        await store.add(rows(0, 3))
        await store.close()


async def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for origin in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Invalid, match="not a folder"):
            await store_of("chroma", str(origin))
    with pytest.raises(Invalid, match="needs a folder"):
        await store_of("chroma", "")
    with pytest.raises((PermissionDenied, IOFailed), match="/proc"):
        await store_of("chroma", "/proc/nowhere/db")


async def test_a_large_collection_is_searched_by_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import drivers.chroma.collections as collections

    monkeypatch.setattr(collections, "EXACT_ROWS_MAX", 50)
    store = await store_of("chroma", str(tmp_path))
    for first in (0, 40, 80):
        await store.add(rows(first, 40))
    for n in (0, 39, 60, 119):
        hits = await store.query(near(n, 4))
        assert (hits.ids[0], len(hits.ids)) == (f"p{n}", 4)
        assert hits.scores[0] == pytest.approx(1.0, abs=1e-4)
    assert set((await store.query(near(3, 9, ("p9", "p8", "none")))).ids) == {"p9", "p8"}
    many = tuple(f"p{n}" for n in range(100)) * 7
    assert (await store.query(near(60, 1, many))).ids == ("p60",)
    await store.delete(abi.StoreDelete(device=0, collection="pages", ids=tuple(f"p{n}" for n in range(100))))
    assert (await store.query(near(60, 99))).ids[:1] != ("p60",)
    await store.add(abi.StoreAdd(device=0, collection="pages", ids=("p60",), vectors=vector(60)))
    assert (await store.query(near(60, 1))).ids == ("p60",)
    await store.close()

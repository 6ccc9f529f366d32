"""Collections of vectors in one chroma database, called from one thread.

A collection is proved at its first use: its index is replayed from the log and asked once. One that a crash has broken
is dropped, and is then what it looks like: empty, for the kernel to fill again from the truth. One that breaks later is
dropped too; `add` refuses until `ids` has been asked, so that nobody goes on believing in the rows that went with it.

Up to EXACT_ROWS_MAX rows are searched exactly in a copy in memory: chroma's index, asked at once, has been seen to miss
the row that it was just given. Above that the index answers.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

from chromadb.errors import NotFoundError

from drivers.chroma.folder import chroma_name, raise_if_passing
from drivers.chroma.rows import Rows, best, matrix_of, unit_rows
from drivers.vectors import FLOAT_BYTES, check_dimensions, dimensions_of, floats_of, size_of
from syscalls.driver import StoreAdd, StoreDelete, StoreHits, StoreQuery, StoreSize
from syscalls.errors import Invalid, IOFailed, SyscallError

T = TypeVar("T")

EXACT_ROWS_MAX = 4096
COPIES_MAX = 16
BATCH_ROWS = 100
"""For chroma at once: in a young collection that was queried, the next add costs the square of its rows."""
ONLY_EXACT_MAX = 512
CONFIGURATION = {"hnsw": {"space": "cosine", "ef_search": 200, "sync_threshold": 100_000_000, "batch_size": 100}}
"""The index is never written to disk: it is replayed from chroma's SQLite log, which survives kill -9."""


@final
class _Shelf:
    """A collection that was proved. `rows` is its exact copy, None when it is too large or made room for others."""

    def __init__(self, handle: Any, dimensions: int) -> None:
        self.handle = handle
        self.dimensions = dimensions
        self.rows: Rows | None = None


@final
class Collections:
    """All collections of a database. Not thread-safe."""

    def __init__(self, client: Any, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()
        self._lost: set[str] = set()

    def add(self, call: StoreAdd) -> None:
        """Inserts or replaces. Raises IOFailed for a collection that was dropped and whose `ids` nobody asked since."""
        if not call.ids:
            return
        size = dimensions_of(len(call.ids), call.vectors)
        floats_of(call.vectors)
        if call.collection in self._lost:
            raise self._dropped(call.collection)
        shelf = self._shelf(call.collection) or self._make(call.collection)
        check_dimensions(call.collection, has=shelf.dimensions, got=size)
        last = {each: n for n, each in enumerate(call.ids)}
        ids, rows = list(last), matrix_of(call.vectors, size)[list(last.values())]
        for at in range(0, len(ids), BATCH_ROWS):
            part = slice(at, at + BATCH_ROWS)
            self._do(call.collection, lambda p=part: shelf.handle.upsert(ids=ids[p], embeddings=rows[p]))  # type: ignore[misc]
        shelf.dimensions = size
        self._copy(shelf, ids, rows)

    def query(self, call: StoreQuery) -> StoreHits:
        """The nearest rows; none where there is no collection."""
        if call.k < 1:
            raise Invalid(f"k is {call.k}: ask for at least 1")
        floats_of(call.vector)
        shelf = self._shelf(call.collection)
        if shelf is None or not shelf.dimensions:
            return StoreHits(ids=(), scores=())
        check_dimensions(call.collection, has=shelf.dimensions, got=len(call.vector) // FLOAT_BYTES)
        wanted = matrix_of(call.vector, shelf.dimensions)[0]
        if shelf.rows is not None:
            ids, scores = shelf.rows.search(wanted, call.k, call.only)
        else:
            ids, scores = self._do(call.collection, lambda: _search(shelf.handle, wanted, call.k, call.only))
        return StoreHits(ids=ids, scores=scores)

    def delete(self, call: StoreDelete) -> None:
        """Deletes what is there of `ids`, or the collection."""
        if call.ids is None:
            self._drop(call.collection)
            return
        shelf = self._shelf(call.collection)
        if shelf is None:
            return
        ids = list(dict.fromkeys(call.ids))
        for at in range(0, len(ids), BATCH_ROWS):
            part = ids[at : at + BATCH_ROWS]
            self._do(call.collection, lambda p=part: shelf.handle.delete(ids=p))  # type: ignore[misc]
        if shelf.rows is not None:
            shelf.rows.drop(ids)

    def ids(self, collection: str) -> tuple[str, ...]:
        """All ids, sorted; the caller knows from here on what a dropped collection has lost."""
        shelf = self._shelf(collection)
        found = () if shelf is None else self._do(collection, lambda: shelf.handle.get(include=[])["ids"])
        self._lost.discard(collection)
        return tuple(sorted(found))

    def size(self, call: StoreSize) -> int:
        """The bytes of what is there, or of what is there of `ids`. Who asks has not been told of a loss."""
        shelf = self._shelf(call.collection)
        if shelf is None:
            return 0
        if call.ids is None:
            found = self._do(call.collection, lambda: shelf.handle.get(include=[])["ids"])
            return size_of(found, shelf.dimensions)
        ids, there = list(dict.fromkeys(call.ids)), 0
        for at in range(0, len(ids), ONLY_EXACT_MAX):
            part = ids[at : at + ONLY_EXACT_MAX]
            found = self._do(call.collection, lambda p=part: shelf.handle.get(ids=p, include=[])["ids"])  # type: ignore[misc]
            there += size_of(found, shelf.dimensions)
        return there

    def close(self) -> None:
        """Lets go of the database."""
        self._shelves.clear()
        self._client.close()

    # A collection's life.

    def _shelf(self, collection: str) -> _Shelf | None:
        """The collection, proved; None when there is none, or none any more."""
        shelf = self._shelves.get(collection)
        if shelf is None:
            try:
                shelf = _proved(self._client.get_collection(chroma_name(collection), embedding_function=None))
            except NotFoundError:
                return None
            except BaseException as failed:
                raise_if_passing(failed, self._folder)
                self._report(collection, failed)
                self._drop(collection)
                return None
            self._shelves[collection] = shelf
        self._shelves.move_to_end(collection)
        self._make_room()
        return shelf

    def _make(self, collection: str) -> _Shelf:
        def make() -> _Shelf:
            handle = self._client.create_collection(
                chroma_name(collection), embedding_function=None, configuration=CONFIGURATION
            )
            return _Shelf(handle, 0)

        shelf = self._shelves[collection] = self._do(collection, make)
        return shelf

    def _drop(self, collection: str) -> None:
        self._shelves.pop(collection, None)
        try:
            self._client.delete_collection(chroma_name(collection))
        except NotFoundError:
            pass

    def _do(self, collection: str, work: Callable[[], T]) -> T:
        """`work`; a collection that breaks under it is dropped and its loss is told."""
        try:
            return work()
        except BaseException as failed:
            raise_if_passing(failed, self._folder)
            self._report(collection, failed)
            self._drop(collection)
            self._lost.add(collection)
            raise self._dropped(collection) from None

    def _dropped(self, collection: str) -> SyscallError:
        return IOFailed(f"collection {collection} broke and was dropped: ask for its ids and add what is missing")

    def _report(self, collection: str, failed: BaseException) -> None:
        print(f"chroma: collection {collection} in {self._folder} is dropped: {failed!r}", file=sys.stderr)

    # The copies.

    def _copy(self, shelf: _Shelf, ids: Sequence[str], rows: Any) -> None:
        """Keeps the exact copy true; a collection that outgrows it is left to the index."""
        if shelf.rows is None and shelf.handle.count() <= EXACT_ROWS_MAX:
            shelf.rows = _read(shelf.handle, shelf.dimensions)
        if shelf.rows is not None:
            shelf.rows.put(ids, rows)
            if len(shelf.rows) > EXACT_ROWS_MAX:
                shelf.rows = None

    def _make_room(self) -> None:
        copied = [each for each in self._shelves.values() if each.rows is not None]
        for shelf in copied[:-COPIES_MAX]:
            shelf.rows = None


def _proved(handle: Any) -> _Shelf:
    """A collection from disk, read and asked once. Raises whatever chroma raises for a broken one."""
    count = handle.count()
    first = handle.get(limit=1, include=["embeddings"])
    if not count or not len(first["ids"]):
        return _Shelf(handle, 0)
    shelf = _Shelf(handle, len(first["embeddings"][0]))
    handle.query(query_embeddings=first["embeddings"], n_results=1, include=["distances"])
    if count <= EXACT_ROWS_MAX:
        shelf.rows = _read(handle, shelf.dimensions)
    return shelf


def _read(handle: Any, dimensions: int) -> Rows:
    rows = Rows(dimensions)
    found = handle.get(include=["embeddings"])
    if found["ids"]:
        rows.put(found["ids"], unit_rows(found["embeddings"]))
    return rows


def _search(handle: Any, wanted: Any, k: int, only: Sequence[str] | None) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Asks the index; a few given ids are compared exactly."""
    if only is not None and len(only) <= ONLY_EXACT_MAX:
        found = handle.get(ids=list(dict.fromkeys(only)), include=["embeddings"]) if only else {"ids": []}
        return best(found["ids"], unit_rows(found["embeddings"]), wanted, k) if found["ids"] else ((), ())
    among = {} if only is None else {"ids": list(dict.fromkeys(only))}
    found = handle.query(query_embeddings=wanted[None], n_results=k, include=["distances"], **among)
    return tuple(found["ids"][0]), tuple(1.0 - distance for distance in found["distances"][0])

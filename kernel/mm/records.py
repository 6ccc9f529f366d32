"""Contexts and pages as rows of the truth: what is written in which transaction, and how it is read back.

Every function returns a closure for `Truth.commit` or `Truth.read`; what is sealed was sealed before, in the loop.
"""

from collections.abc import Callable, Sequence
from typing import final

import apsw
from msgspec import Struct

from kernel.mm.page import Ref
from syscalls.calls.context import ListContexts, NamedContext
from syscalls.turns import ToolSpec


@final
class Settings(Struct, frozen=True):
    """What of a context is sealed besides its turns."""

    tools: tuple[ToolSpec, ...] = ()
    reserve_tokens: int = 256


@final
class Row(Struct, frozen=True, kw_only=True):
    """A context as it is stored."""

    id: int
    principal: str
    name: str | None
    parent: int | None
    shared: int
    version: int
    model: str
    settings: bytes
    bytes: int = 0


@final
class Stored(Struct, frozen=True, kw_only=True):
    """A context with its own pages and open turns."""

    row: Row
    refs: tuple[Ref, ...]
    tail: tuple[tuple[int, bytes], ...]


@final
class Addition(Struct, frozen=True, kw_only=True):
    """What one append writes: the new version, the pages it closes (sealed body by ref), and the open turns that stay.
    `tail_first` is the first turn that is still open; `position` of the first new page among the context's own."""

    context: int
    principal: str
    version: int
    position: int
    pages: tuple[tuple[Ref, bytes], ...] = ()
    tail_first: int = 0
    tail: tuple[tuple[int, bytes], ...] = ()
    stored_bytes: int = 0


def create(row: Row) -> Callable[[apsw.Connection], None]:
    """A new context."""

    def work(db: apsw.Connection) -> None:
        values = (row.id, row.principal, row.name, row.parent, row.shared, row.version, row.model, row.settings, 0)
        db.execute("INSERT INTO contexts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    return work


def configure(context: int, model: str, settings: bytes) -> Callable[[apsw.Connection], None]:
    """Another model, or other settings, for a context that is opened again."""

    def work(db: apsw.Connection) -> None:
        db.execute("UPDATE contexts SET model = ?, settings = ? WHERE id = ?", (model, settings, context))

    return work


def add(addition: Addition) -> Callable[[apsw.Connection], None]:
    """One append: version, pages and open turns together."""

    def work(db: apsw.Connection) -> None:
        values = (addition.version, addition.stored_bytes, addition.context)
        db.execute("UPDATE contexts SET version = ?, bytes = ? WHERE id = ?", values)
        for position, (ref, body) in enumerate(addition.pages, addition.position):
            db.execute(
                "INSERT OR IGNORE INTO pages VALUES (?, ?, ?, ?)", (addition.principal, ref.address, ref.slices, body)
            )
            _enter(db, addition.context, position, addition.principal, ref)
        if addition.pages:
            db.execute("DELETE FROM tails WHERE context = ? AND position < ?", (addition.context, addition.tail_first))
        for at, body in addition.tail:
            db.execute("INSERT INTO tails VALUES (?, ?, ?)", (addition.context, at, body))

    return work


def load(principal: str, name: str) -> Callable[[apsw.Connection], Stored | None]:
    """A named context, or None."""

    def work(db: apsw.Connection) -> Stored | None:
        query = "SELECT * FROM contexts WHERE principal = ? AND name = ?"
        found = db.execute(query, (principal, name)).fetchone()
        if found is None:
            return None
        id_, owner, own_name, parent, shared, version, model, settings, size = found
        row = Row(
            id=id_, principal=owner, name=own_name, parent=parent, shared=shared, version=version, model=model,
            settings=settings, bytes=size,
        )  # fmt: skip
        pages = db.execute(
            "SELECT address, first, turns, slices, part, parts, resident FROM entries WHERE context = ? "
            "ORDER BY position",
            (id_,),
        )
        refs = tuple(Ref(a, f, t, s, part, parts, bool(r)) for a, f, t, s, part, parts, r in pages)
        tail = db.execute("SELECT position, body FROM tails WHERE context = ? ORDER BY position", (id_,))
        return Stored(row=row, refs=refs, tail=tuple((at, body) for at, body in tail))

    return work


def save(
    context: int, name: str, own: Sequence[Ref] | None, principal: str, stored_bytes: int
) -> Callable[[apsw.Connection], None]:
    """Gives a context a name; with `own`, all its pages become its own and it has no parent any more."""

    def work(db: apsw.Connection) -> None:
        db.execute("UPDATE contexts SET name = ?, bytes = ? WHERE id = ?", (name, stored_bytes, context))
        if own is not None:
            db.execute("UPDATE contexts SET parent = NULL, shared = 0 WHERE id = ?", (context,))
            db.execute("DELETE FROM entries WHERE context = ?", (context,))
            for position, ref in enumerate(own):
                _enter(db, context, position, principal, ref)

    return work


def _enter(db: apsw.Connection, context: int, position: int, principal: str, ref: Ref) -> None:
    values = (
        context, position, principal, ref.address, ref.first, ref.turns, ref.slices, ref.part, ref.parts, ref.resident
    )  # fmt: skip
    db.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def named(principal: str, name: str) -> Callable[[apsw.Connection], tuple[int, int] | None]:
    """The id of the context of that name, and the bytes that are paid for; or None."""
    query = "SELECT id, bytes FROM contexts WHERE principal = ? AND name = ?"

    def work(db: apsw.Connection) -> tuple[int, int] | None:
        found = db.execute(query, (principal, name)).fetchone()
        return None if found is None else (int(found[0]), int(found[1]))

    return work


def size_of_pages(principal: str, addresses: Sequence[str]) -> Callable[[apsw.Connection], int]:
    """How many bytes the pages take, as often as they are named."""
    query = "SELECT length(body) FROM pages WHERE principal = ? AND address = ?"

    def work(db: apsw.Connection) -> int:
        return sum(int(db.execute(query, (principal, address)).get or 0) for address in addresses)

    return work


def all_named(principal: str, asked: ListContexts) -> Callable[[apsw.Connection], list[NamedContext]]:
    """What is on disk of the named contexts that are asked for."""
    chosen = "name > ?" if asked.name is None else "name = ?"
    query = f"""
        SELECT name, model, version,
            (SELECT coalesce(sum(turns), 0) FROM entries WHERE context = id)
                + (SELECT count(*) FROM tails WHERE context = id),
            (SELECT count(DISTINCT address) FROM entries WHERE context = id),
            bytes
        FROM contexts WHERE principal = ? AND {chosen} ORDER BY name LIMIT ?
    """

    def work(db: apsw.Connection) -> list[NamedContext]:
        rows = db.execute(query, (principal, asked.after if asked.name is None else asked.name, asked.limit + 1))
        return [
            NamedContext(name=name, model=model, version=version, turns=turns, pages=pages, bytes=size)
            for name, model, version, turns, pages, size in rows
        ]

    return work


def drop(contexts: Sequence[int], principal: str) -> Callable[[apsw.Connection], dict[str, int]]:
    """Forgets contexts of one principal; returns the pages that went with them, and how many vectors each had."""

    def work(db: apsw.Connection) -> dict[str, int]:
        touched: dict[str, int] = {}
        for context in contexts:
            query = "SELECT DISTINCT address, slices FROM entries WHERE context = ?"
            touched.update(db.execute(query, (context,)))
            for table, column in (("entries", "context"), ("tails", "context"), ("contexts", "id")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (context,))
        gone: dict[str, int] = {}
        for address, slices in touched.items():
            used = "SELECT 1 FROM entries WHERE principal = ? AND address = ? LIMIT 1"
            if db.execute(used, (principal, address)).fetchone() is None:
                db.execute("DELETE FROM pages WHERE principal = ? AND address = ?", (principal, address))
                gone[address] = slices
        return gone

    return work


def sweep(db: apsw.Connection) -> int:
    """At boot: unnamed contexts belonged to processes that are no more. Returns the largest id in use."""
    db.execute("DELETE FROM contexts WHERE name IS NULL")
    db.execute("DELETE FROM entries WHERE context NOT IN (SELECT id FROM contexts)")
    db.execute("DELETE FROM tails WHERE context NOT IN (SELECT id FROM contexts)")
    db.execute("DELETE FROM pages WHERE (principal, address) NOT IN (SELECT principal, address FROM entries)")
    return int(db.execute("SELECT coalesce(max(id), 0) FROM contexts").get)


def kept_bytes(db: apsw.Connection) -> dict[str, int]:
    """By principal: the bytes of conversations that have a name."""
    query = "SELECT principal, sum(bytes) FROM contexts WHERE name IS NOT NULL GROUP BY principal"
    return dict(db.execute(query))


def bodies(principal: str, addresses: Sequence[str]) -> Callable[[apsw.Connection], dict[str, bytes]]:
    """The sealed bodies of those pages that there are."""

    def work(db: apsw.Connection) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        query = "SELECT body FROM pages WHERE principal = ? AND address = ?"
        for address in addresses:
            row = db.execute(query, (principal, address)).fetchone()
            if row is not None:
                found[address] = row[0]
        return found

    return work


def all_pages(db: apsw.Connection) -> dict[str, dict[str, int]]:
    """By principal: every page's address and how many vectors stand for it."""
    pages: dict[str, dict[str, int]] = {}
    for principal, address, slices in db.execute("SELECT principal, address, slices FROM pages"):
        pages.setdefault(principal, {})[address] = slices
    return pages

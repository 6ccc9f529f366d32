"""The documents that the agents are asked about: copies of real ones in a folder of their own."""

import importlib
import random
from pathlib import Path
from typing import final

from msgspec import Struct

from syscalls.row import Row
from syscalls.table import TABLE

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE_CHARS = (1_000, 12_000)
SHELF_CHARS_MAX = 26_000
"""What one agent reads: some sixty passages, twice what the shipped model's window holds."""


@final
class Text(Struct, frozen=True):
    """A document: the name of its file, and what it says."""

    name: str
    text: str


def python_texts(rng: random.Random) -> list[Text]:
    """Some of the language reference that ships with Python."""
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    least, most = PAGE_CHARS
    texts = [Text(f"{name}.txt", text) for name, text in sorted(topics.items()) if least <= len(text) <= most]
    return _as_many_as_fit(rng.sample(texts, len(texts)))


def project_texts(rng: random.Random) -> list[Text]:
    """Some of the repository's own pages, and of the manual of the system calls."""
    files = [*sorted(REPOSITORY.glob("*.md")), *sorted(REPOSITORY.glob("docs/**/*.md"))]
    texts = [Text(file.relative_to(REPOSITORY).as_posix().replace("/", "-"), file.read_text()) for file in files]
    manual = [Text(f"{family}-calls.txt", text) for family, text in _manual().items()]
    return _as_many_as_fit(rng.sample(texts, len(texts)) + rng.sample(manual, len(manual)))


def _as_many_as_fit(texts: list[Text]) -> list[Text]:
    """The first whose lengths together stay within the bound, in the order of their names."""
    chosen: list[Text] = []
    for text in texts:
        if sum(len(each.text) for each in chosen) + len(text.text) <= SHELF_CHARS_MAX:
            chosen.append(text)
    return sorted(chosen, key=lambda text: text.name)


def write(folder: Path, texts: list[Text]) -> None:
    """Puts the documents into a new folder."""
    folder.mkdir(mode=0o755)
    for text in texts:
        (folder / text.name).write_text(text.text, encoding="utf-8")


def _manual() -> dict[str, str]:
    """By family, what each system call does and what it takes and gives."""
    pages: dict[str, list[str]] = {}
    for row in TABLE.values():
        pages.setdefault(row.name.partition(".")[0], []).append(_page(row))
    return {family: "\n\n".join(texts) for family, texts in pages.items()}


def _page(row: Row) -> str:
    docs = [row.doc] + [kind.__doc__ or "" for kind in (row.args, row.item, row.result) if kind is not None]
    return "\n\n".join([f"{row.name}", *(" ".join(doc.replace("`", "").split()) for doc in docs)])

"""The documents that the agents are asked about: copies of real ones, a paragraph a line, in a folder of their own."""

import importlib
import random
import re
from pathlib import Path
from typing import final

from msgspec import Struct

from syscalls.row import Row
from syscalls.table import TABLE

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON_CHARS = (2_000, 14_000)
PYTHON_FILES = 7
PROJECT_CHARS_MAX = 45_000
"""What one agent reads: about a hundred passages."""
_PARAGRAPH = re.compile(r"\n\s*\n")
_VERBATIM = re.compile(r"^(\s*(```|>>>|\||\$|#|[*=-]{3}|\.\. )|.*::=)", re.MULTILINE)
_ITEM = re.compile(r"\n(?=\s*(?:[*-]|\d+\.) )")


@final
class Text(Struct, frozen=True):
    """A document: the name of its file, and what it says."""

    name: str
    text: str


def python_texts(rng: random.Random) -> list[Text]:
    """Some of the language reference that ships with Python, of a size that is read in a moment."""
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    least, most = PYTHON_CHARS
    names = sorted(name for name, text in topics.items() if least <= len(text) <= most)
    return [Text(f"{name}.txt", topics[name]) for name in sorted(rng.sample(names, PYTHON_FILES))]


def project_texts(rng: random.Random) -> list[Text]:
    """The manual of the system calls, and as many of the repository's own pages as fit."""
    manual = [Text(f"{family}-calls.txt", text) for family, text in _manual().items()]
    files = [*sorted(REPOSITORY.glob("*.md")), *sorted(REPOSITORY.glob("docs/**/*.md"))]
    pages = [Text(file.relative_to(REPOSITORY).as_posix().replace("/", "-"), file.read_text()) for file in files]
    chosen: list[Text] = []
    for page in rng.sample(pages, len(pages)) + rng.sample(manual, len(manual)):
        if sum(len(text.text) for text in chosen) + len(page.text) <= PROJECT_CHARS_MAX:
            chosen.append(page)
    return sorted(chosen, key=lambda text: text.name)


def write(folder: Path, texts: list[Text]) -> None:
    """Puts the documents into a new folder."""
    folder.mkdir(mode=0o755)
    for text in texts:
        (folder / text.name).write_text(reflowed(text.text), encoding="utf-8")


def reflowed(text: str) -> str:
    """The text with each paragraph and list item on one line; code, tables and headings stay as they are."""
    paragraphs = []
    for paragraph in _PARAGRAPH.split(text):
        if not _VERBATIM.search(paragraph):
            paragraph = "\n".join(" ".join(item.split()) for item in _ITEM.split(paragraph))
        paragraphs.append(paragraph.strip("\n"))
    return "\n\n".join(paragraphs) + "\n"


def _manual() -> dict[str, str]:
    """By family, what each system call does and what it takes and gives."""
    pages: dict[str, list[str]] = {}
    for row in TABLE.values():
        pages.setdefault(row.name.partition(".")[0], []).append(_page(row))
    return {family: "\n\n".join(texts) for family, texts in pages.items()}


def _page(row: Row) -> str:
    docs = [row.doc] + [kind.__doc__ or "" for kind in (row.args, row.item, row.result) if kind is not None]
    return "\n\n".join([f"{row.name}", *(" ".join(doc.replace("`", "").split()) for doc in docs)])

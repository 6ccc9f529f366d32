"""Folders of documents: which files can be read, and the passages they are cut into."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import final

from msgspec import Struct

from userland.reflow import is_prose, reflowed

MB = 1_000_000
FILE_BYTES_MAX = 10 * MB
FILES_MAX = 5_000
PASSAGE_CHARS_MIN = 300
PASSAGE_CHARS_MAX = 700
_PROBE_BYTES = 8192
_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+")
_PARAGRAPH = re.compile(r"\n\s*\n")


@final
class Passage(Struct, frozen=True):
    """A piece of a document; `source` is `FILE#NUMBER`, the file as the folder has it."""

    source: str
    text: str


@final
class Document(Struct, frozen=True):
    """A file that was read."""

    name: str
    passages: tuple[Passage, ...]


@final
class Skipped(Struct, frozen=True):
    """A file that was not, and one line on what to do about it."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"skipped {self.name}: {self.why}"


@final
class Unparsed(Struct, frozen=True):
    """A file that a parser of an installed package is for: its bytes."""

    name: str
    data: bytes


Parses = Callable[[str], bool]
"""Whether a parser is for a file of that name."""


def read_folder(folder: Path, parses: Parses = lambda name: False) -> Iterator[Document | Skipped | Unparsed]:
    """Every file below `folder` (or that one file), sorted; hidden ones and links are passed over."""
    if folder.is_file():
        yield _read(folder, folder.name, parses)
        return
    for number, path in enumerate(_files(folder)):
        name = str(path.relative_to(folder))
        if number >= FILES_MAX:
            yield Skipped(name, f"only the first {FILES_MAX} files are read: give a smaller folder")
            return
        yield _read(path, name, parses)


def check_folder(folder: Path) -> None:
    """Raises OSError when `folder` is neither a folder that can be listed nor a file."""
    if not folder.is_file():
        os.listdir(folder)


def _files(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        for name in sorted(names):
            path = Path(base, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _read(path: Path, name: str, parses: Parses) -> Document | Skipped | Unparsed:
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            return Skipped(name, f"{size / MB:.1f} MB, more than {FILE_BYTES_MAX // MB} MB: split it")
        data = path.read_bytes()
    except OSError as failed:
        return Skipped(name, f"cannot be read: {failed.strerror}")
    if parses(name):
        return Unparsed(name, data)
    if b"\0" in data[:_PROBE_BYTES]:
        return Skipped(name, "binary, not text: convert it, or install a package that parses it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        return Skipped(name, f"not UTF-8 at byte {bad.start}: convert it, as in 'iconv -t UTF-8'")
    return made_of(name, text)


def made_of(name: str, text: str, *, prose: bool | None = None) -> Document | Skipped:
    """A document of its text, in which the lines of `prose` are joined; None asks the name."""
    joins = is_prose(name) if prose is None else prose
    passages = tuple(Passage(f"{name}#{at}", piece) for at, piece in enumerate(split(text, prose=joins), 1))
    return Document(name, passages) if passages else Skipped(name, "empty")


def split(text: str, *, prose: bool = False) -> Iterator[str]:
    """Passages of `PASSAGE_CHARS_MIN` to `PASSAGE_CHARS_MAX` characters, cut at paragraphs, else sentences, else words.

    Short ones are joined with what follows; every word of the text is in exactly one, in order. The wrapped lines of
    `prose` are joined."""
    waiting = ""
    for piece in _pieces(text, prose=prose):
        joined = f"{waiting}\n\n{piece}" if waiting else piece
        if len(joined) <= PASSAGE_CHARS_MAX:
            waiting = joined
            if len(waiting) >= PASSAGE_CHARS_MIN:
                yield waiting
                waiting = ""
            continue
        if waiting:
            yield waiting
        waiting = piece
        if len(piece) >= PASSAGE_CHARS_MIN:
            yield piece
            waiting = ""
    if waiting:
        yield waiting


def _pieces(text: str, *, prose: bool) -> Iterator[str]:
    """Paragraphs; those that are too long by sentences, and sentences that are too long by words."""
    for paragraph in _PARAGRAPH.split(text.replace("\r\n", "\n")):
        paragraph = (reflowed(paragraph) if prose else paragraph).strip()
        if not paragraph:
            continue
        if len(paragraph) <= PASSAGE_CHARS_MAX:
            yield paragraph
            continue
        units = [word for sentence in _SENTENCE_END.split(paragraph) for word in _bounded(sentence)]
        yield from _packed(units)


def _packed(units: list[str]) -> Iterator[str]:
    line = ""
    for unit in units:
        if line and len(line) + 1 + len(unit) > PASSAGE_CHARS_MAX:
            yield line
            line = unit
        else:
            line = f"{line} {unit}" if line else unit
    if line:
        yield line


def _bounded(sentence: str) -> Iterator[str]:
    """A sentence whole, or by words, or a word cut where it must be."""
    if len(sentence) <= PASSAGE_CHARS_MAX:
        yield sentence
        return
    for word in sentence.split():
        for start in range(0, len(word), PASSAGE_CHARS_MAX):
            yield word[start : start + PASSAGE_CHARS_MAX]

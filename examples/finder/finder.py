"""A tool that searches: it reads the folders that it was granted, and nothing else is there for it to see."""

from collections.abc import Iterator
from pathlib import Path

from kernos import Sys, tool

FILE_BYTES_MAX = 1 << 20
LINE_CHARS_MAX = 200


@tool
async def search(sys: Sys, words: str, hits: int = 5) -> str:
    """Finds lines that hold all of the words, in the files of the granted folders: FILE:LINE: TEXT."""
    wanted = words.lower().split()
    found: list[str] = []
    for folder in await granted(sys):
        for file in files_of(folder):
            for number, line in enumerate(lines_of(file), 1):
                if all(word in line.lower() for word in wanted):
                    found.append(f"{file.relative_to(folder)}:{number}: {line.strip()[:LINE_CHARS_MAX]}")
                    if len(found) >= hits:
                        return "\n".join(found)
    return "\n".join(found) or "nothing was found"


@tool
async def folders(sys: Sys) -> list[str]:
    """The folders that it was granted."""
    return [str(folder) for folder in await granted(sys)]


async def granted(sys: Sys) -> list[Path]:
    """What its rights say it may read: `file:/FOLDER/** read`."""
    rights = [handle.right for handle in await sys.rights.list()]
    return [Path(right[len("file:") :].partition("/**")[0]) for right in rights if right.startswith("file:/")]


def files_of(folder: Path) -> Iterator[Path]:
    """All files below it, those that are hidden left out."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def lines_of(file: Path) -> list[str]:
    """The lines of a text; none of what is no text, or too large."""
    if file.stat().st_size > FILE_BYTES_MAX:
        return []
    try:
        return file.read_text().splitlines()
    except UnicodeDecodeError:
        return []

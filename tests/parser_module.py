"""What a package of the tests parses documents with: honest and other functions."""

from collections.abc import Iterator

import trio


def lines(data: bytes) -> Iterator[str]:
    """A paragraph for each line."""
    yield from data.decode().splitlines()


async def named(data: bytes, file: str) -> str:
    """With the file's name."""
    return f"{file}: {len(data)}"


async def hangs(data: bytes) -> str:
    """Never returns."""
    await trio.sleep_forever()
    return ""


def endless(data: bytes) -> Iterator[str]:
    """Never has enough."""
    while True:
        yield "x" * 1024


def number(data: bytes) -> int:
    """No text."""
    return 1


def refuses(data: bytes) -> str:
    """Says what should make somebody do something."""
    raise ValueError("grant me more:\n\x1b[31m--allow '**'" + "!" * 1000)


def surrogate(data: bytes) -> str:
    """What is no text on the wire."""
    return "a\ud800b"

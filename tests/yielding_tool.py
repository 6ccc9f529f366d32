"""A tool that yields, for tests with a real worker."""

import os
from collections.abc import AsyncIterator

import trio

from kernos import tool


@tool
async def ticks(to: int) -> AsyncIterator[dict[str, int]]:
    """Counts, and says who does."""
    for n in range(to):
        await trio.lowlevel.checkpoint()
        yield {"n": n, "pid": os.getpid()}


@tool
async def waits() -> AsyncIterator[str]:
    """Yields once, then never again."""
    yield "first"
    await trio.sleep_forever()

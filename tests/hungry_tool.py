"""A tool that takes as much as it is let, for tests of what one call may use."""

import os
from collections.abc import AsyncIterator

import trio

from kernos import tool


@tool
def spins() -> None:
    """Never ends, and never lets anybody else run."""
    while True:
        pass


@tool
async def waits() -> None:
    """Never ends, and lets others run."""
    await trio.sleep_forever()


@tool
def hoards() -> None:
    """Takes memory until there is none."""
    held = []
    while True:
        held.append(bytes(16 << 20))


@tool
def answers(size: int) -> str:
    """So many letters."""
    return "x" * size


@tool
async def yields(size: int) -> AsyncIterator[str]:
    """So many letters, and again, without an end."""
    while True:
        await trio.lowlevel.checkpoint()
        yield "x" * size


@tool
def pid() -> int:
    """Of the worker that serves this call."""
    return os.getpid()


@tool
async def prints() -> None:
    """Never stops."""
    while True:
        print("x" * 8000)
        await trio.lowlevel.checkpoint()


@tool
def dies() -> None:
    """Ends its worker."""
    os._exit(3)

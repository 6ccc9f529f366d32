"""Somebody else who wants his turns while something long is done."""

import contextlib
from collections.abc import AsyncIterator
from typing import final

import trio


@final
class Turns:
    """How many turns he has had."""

    def __init__(self) -> None:
        self.had = 0

    async def take(self) -> None:
        """Takes one after the other, for ever."""
        while True:
            await trio.lowlevel.checkpoint()
            self.had += 1


@contextlib.asynccontextmanager
async def counted() -> AsyncIterator[Turns]:
    """He takes his turns while the block runs."""
    turns = Turns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.take)
        yield turns
        nursery.cancel_scope.cancel()

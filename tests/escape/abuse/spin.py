"""Keeps a processor for itself for ever."""

from kernos import Sys

STOPPED_BY = "the governor: it gives way to all others"
ENDS = None


async def abuse(sys: Sys) -> None:
    while True:
        pass

"""Prints without end, by system calls."""

from kernos import Sys

STOPPED_BY = "the limit of output"
ENDS = ("over_limit",)


async def abuse(sys: Sys) -> None:
    while True:
        print("x" * 60_000)
        await sys.sleep(0)

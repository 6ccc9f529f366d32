"""Takes memory piece by piece until there is no more."""

from kernos import Sys

STOPPED_BY = "the limit of memory"
ENDS = ("over_limit",)


async def abuse(sys: Sys) -> None:
    held = []
    while True:
        held.append(bytes(8 << 20))

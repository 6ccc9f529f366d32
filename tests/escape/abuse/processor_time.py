"""Uses more of the processor than it was given."""

from kernos import Sys

STOPPED_BY = "the limit of processor time"
ENDS = ("over_limit",)


async def abuse(sys: Sys) -> None:
    while True:
        pass

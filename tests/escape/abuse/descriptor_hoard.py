"""Opens descriptors until there are no more."""

import os

from kernos import Sys

STOPPED_BY = "the limit of descriptors"
ENDS = ("over_limit",)


async def abuse(sys: Sys) -> None:
    held = []
    while True:
        held.append(os.dup(0))

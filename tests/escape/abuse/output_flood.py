"""Writes to its raw output without end."""

import os

from kernos import Sys

STOPPED_BY = "the limit of output"
ENDS = ("over_limit",)


async def abuse(sys: Sys) -> None:
    while True:
        os.write(2, b"x" * 65536)

"""Sends a frame of a kind that there is not."""

import os

from kernos import Sys
from tests.escape.abuse import SOCK

STOPPED_BY = "the reader of frames: an unknown kind ends the link"
ENDS = ("worker_lost",)


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    os.write(SOCK, (3).to_bytes(4, "big") + b"\x92\x63\x01")
    await sys.receive()

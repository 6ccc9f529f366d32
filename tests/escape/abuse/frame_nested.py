"""Sends a frame of arrays in arrays, sixty thousand deep."""

import os

from kernos import Sys
from tests.escape.abuse import SOCK

STOPPED_BY = "the reader of frames: depth is bounded"
ENDS = ("worker_lost",)


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    os.write(SOCK, (60_000).to_bytes(4, "big") + b"\x91" * 59_999 + b"\xc0")
    await sys.receive()

"""Sends bytes that are no msgpack."""

import os

from kernos import Sys
from tests.escape.abuse import SOCK

STOPPED_BY = "the reader of frames: what is no frame ends the link"
ENDS = ("worker_lost",)


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    os.write(SOCK, (8).to_bytes(4, "big") + b"\xc1" * 8)
    await sys.receive()

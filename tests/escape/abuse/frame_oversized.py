"""Announces a frame of two gigabytes."""

import os

from kernos import Sys
from tests.escape.abuse import SOCK

STOPPED_BY = "the reader of frames: the length is checked before anything is kept"
ENDS = ("worker_lost",)


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    os.write(SOCK, (2 << 30).to_bytes(4, "big") + b"\x00" * 1024)
    await sys.receive()

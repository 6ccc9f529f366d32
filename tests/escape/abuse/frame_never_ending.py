"""Begins a frame, sends a byte of it now and then, and never ends."""

import os
import time

from kernos import Sys
from tests.escape.abuse import SOCK

STOPPED_BY = "the reader of frames: it waits for this link alone"
ENDS = None


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    os.write(SOCK, (60_000).to_bytes(4, "big"))
    while True:
        os.write(SOCK, b"\x91")
        time.sleep(0.05)  # noqa: ASYNC251  (its link is busy with this frame)

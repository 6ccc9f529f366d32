"""Begins a frame, and hangs up in the middle of it."""

import os
import socket

from kernos import Sys
from tests.escape.abuse import SOCK

STOPPED_BY = "the reader of frames: half a frame is none"
ENDS = ("worker_lost",)


async def abuse(sys: Sys) -> None:
    os.write(SOCK, (1000).to_bytes(4, "big") + b"\x00" * 10)
    socket.socket(fileno=SOCK).shutdown(socket.SHUT_RDWR)
    await sys.receive()

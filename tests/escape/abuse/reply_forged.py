"""Answers a call that it was never asked."""

import os

from kernos import Sys
from syscalls.wire import Reply, encode
from tests.escape.abuse import SOCK

STOPPED_BY = "the reader of frames: an answer to nothing ends the link"
ENDS = ("worker_lost",)


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    os.write(SOCK, encode(Reply(id=123_456)))
    await sys.receive()

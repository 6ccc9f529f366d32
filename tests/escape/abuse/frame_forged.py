"""Calls on the channel of another process."""

import os

from kernos import Sys
from syscalls.wire import Call, encode
from tests.escape.abuse import SOCK

STOPPED_BY = "the reader of frames: another channel than its own ends the link"
ENDS = ("worker_lost",)


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    os.write(SOCK, encode(Call(id=99, number=0, channel=sys.pid + 1)))
    await sys.receive()

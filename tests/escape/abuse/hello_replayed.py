"""Greets a second time, as the operator would."""

import os

from kernos import Sys
from syscalls.wire import Hello, encode
from tests.escape.abuse import SOCK

STOPPED_BY = "the reader of frames: a second HELLO ends the link"
ENDS = ("worker_lost",)


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    os.write(SOCK, encode(Hello(info={"role": "operator"})))
    await sys.receive()

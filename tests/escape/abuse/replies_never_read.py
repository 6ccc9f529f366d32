"""Calls without end and reads no answer."""

import os

from kernos import Sys
from syscalls.wire import Call, encode
from tests.escape.abuse import SOCK

STOPPED_BY = "the link: nothing more is read from one that does not read"
ENDS = None


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    number = 1_000_000
    while True:
        os.write(SOCK, encode(Call(id=number, number=0, channel=sys.pid)))
        number += 1

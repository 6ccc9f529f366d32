"""Sends one and the same call again and again, under the id that it had."""

import os

from kernos import Sys
from syscalls.wire import Call, encode
from tests.escape.abuse import SOCK

STOPPED_BY = "the link: what is answered is done, and an id that is in use ends it"
ENDS = None


async def abuse(sys: Sys) -> None:
    os.set_blocking(SOCK, True)
    call = encode(Call(id=1_000_001, number=0, channel=sys.pid))
    while True:
        os.write(SOCK, call * 50)

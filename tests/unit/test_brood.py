"""Children that are no workers yet: each is reaped once, whatever is said of it, and in whatever order."""

import os
import socket
import sys

import msgspec

from sandbox.attested import attest
from sandbox.brood import Brood
from sandbox.messages import Hatched, Lost

encode = msgspec.msgpack.Encoder().encode


def spawned(code: str) -> int:
    """A child of this process, which nothing but the test reaps."""
    return os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", code], {})


async def test_a_child_that_speaks_after_it_was_given_up_is_reaped_once() -> None:
    """It is slow, and its zygote could not help it: that says so before the child has said that it is there."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    attest(ours)
    go, told = os.pipe()
    for fd in (go, theirs.fileno()):
        os.set_inheritable(fd, True)
    child = f"import os; os.read({go}, 1); os.write({theirs.fileno()}, {encode(Hatched())!r})"
    with ours, theirs:
        pid = spawned(child)
        brood = Brood(ours)
        theirs.send(encode(Hatched(pid)))
        theirs.send(encode(Lost(pid)))
        os.write(told, b"x")
        await brood.settle()
        theirs.close()
        await brood.end()
    os.close(go)
    os.close(told)

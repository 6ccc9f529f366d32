"""A link on raw trio: for workers, which should start fast and have nothing to do with other loops."""

import trio

from syscalls.link.duplex import Duplex
from syscalls.link.loop import Loop

TRIO = Loop(
    trio.Event,
    trio.open_nursery,
    trio.move_on_after,
    trio.lowlevel.wait_readable,
    trio.lowlevel.wait_writable,
    trio.lowlevel.notify_closing,
    trio.lowlevel.checkpoint_if_cancelled,
    trio.lowlevel.checkpoint,
)


async def run(link: Duplex) -> str:
    """Serves the link until it ends, then fails the calls that wait; why it ended. Never raises for the other end."""
    return await link.run(TRIO)

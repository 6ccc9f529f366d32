"""The kernel's event loop as links need it: raw trio."""

import trio

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

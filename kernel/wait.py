"""Small waits that several system calls need: the first of two events, and a checked timeout."""

import trio

from syscalls.errors import Invalid


async def first_of(*events: trio.Event) -> None:
    """Waits for any of them."""

    async def one(event: trio.Event, scope: trio.CancelScope) -> None:
        await event.wait()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(one, event, nursery.cancel_scope)


def seconds(timeout_s: float | None) -> float:
    """A timeout argument as trio takes it; None waits for ever. Raises Invalid (EINVAL) for less than 0."""
    if timeout_s is None:
        return float("inf")
    if not timeout_s >= 0:
        raise Invalid(f"a timeout of {timeout_s} s: give 0 or more, or none to wait for ever")
    return timeout_s

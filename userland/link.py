"""A link on raw trio: for workers, which should start fast and have nothing to do with other loops."""

import trio

from syscalls.link.duplex import Duplex, LinkBroken
from syscalls.wire import WireError


async def run(link: Duplex) -> str:
    """Serves the link until it ends, then fails the calls that wait; why it ended. Never raises for the other end."""
    reason = "the other end closed the link"
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, link, nursery.cancel_scope)
            try:
                await link.reader()
            except WireError as breach:
                reason = str(breach)
            except LinkBroken as broken:
                reason = str(broken)
            await last_words(link)
            nursery.cancel_scope.cancel()
    finally:
        reason = link.peer.closed or reason
        link.hang_up(reason)
    return reason


async def last_words(link: Duplex) -> None:
    """Gives the writer a moment to send a BYE that explains why this end hangs up."""
    with trio.move_on_after(0.5, shield=True):
        while link.peer.outbox and link.peer.closed is not None:  # noqa: ASYNC110 (the outbox is plain bytes)
            await trio.sleep(0.001)


async def _write(link: Duplex, scope: trio.CancelScope) -> None:
    try:
        await link.writer()
    except LinkBroken:
        pass
    scope.cancel()

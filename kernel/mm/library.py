"""The library: pages by address, sealed in the truth, opened with the key of their principal."""

from collections.abc import Sequence
from typing import Final, final

from kernel.mm.packed import packed
from kernel.mm.page import Run
from kernel.mm.records import bodies
from kernel.seal import Seals
from kernel.truth import Truth
from kernel.wait import slowly
from syscalls.errors import NotFound
from syscalls.turns import Turn, canonical, parse_turns

PAGES_AT_ONCE: Final = 64


@final
class Library:
    """Reads pages of one principal at a time; a page of another has an address that this one cannot make."""

    def __init__(self, truth: Truth, seals: Seals) -> None:
        self._truth = truth
        self._seals = seals

    def bind(self, principal: str, run: Run) -> tuple[str, bytes]:
        """The address of a page and its sealed body."""
        seal = self._seals.of(principal)
        body = canonical(run.turns)
        address = seal.address(body)
        return address, seal.close(body, address)

    def seal(self, principal: str, body: bytes, place: str) -> bytes:
        """Something other than a page, sealed for `place`."""
        return self._seals.of(principal).close(body, place)

    def unseal(self, principal: str, sealed: bytes, place: str) -> bytes:
        """What `seal` closed. Raises IOFailed (EIO) with another key."""
        return self._seals.of(principal).open(sealed, place)

    async def body(self, principal: str, address: str) -> bytes:
        """The canonical bytes of a page. Raises NotFound (ENOENT), IOFailed (EIO)."""
        found = await self._truth.read(bodies(principal, (address,)))
        if address not in found:
            raise NotFound(f"no page {address}: it was never written by {principal}, or its context was closed")
        return self._seals.of(principal).open(found[address], address)

    async def present(self, principal: str, addresses: Sequence[str]) -> set[str]:
        """Which of these pages there are."""
        return set(await self._truth.read(bodies(principal, tuple(addresses))))

    async def pages(self, principal: str, addresses: Sequence[str]) -> dict[str, tuple[Turn, ...]]:
        """The turns of those pages that there are. Lets others run between."""
        found = await self._truth.read(bodies(principal, tuple(addresses)))
        seal = self._seals.of(principal)
        pages: dict[str, tuple[Turn, ...]] = {}
        async for address, body in slowly(found.items(), at_once=PAGES_AT_ONCE):
            pages[address] = tuple(map(packed, parse_turns(seal.open(body, address))))
        return pages

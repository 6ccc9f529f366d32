"""The named conversations of this program's principal: `sys.contexts`."""

from collections.abc import AsyncIterator
from typing import final

from syscalls.calls import context as abi
from syscalls.calls.context import NamedContext
from userland.sdk.door import Door


@final
class Contexts:
    """`async for each in sys.contexts` gives them by name; `sys.open(name)` opens one."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __aiter__(self) -> AsyncIterator[NamedContext]:
        after = ""
        while True:
            found: abi.Contexts = await self._door.call(abi.LIST, abi.ListContexts(after=after))
            for each in found.contexts:
                yield each
            if not found.more:
                return
            after = found.contexts[-1].name

    async def forget(self, name: str) -> None:
        """Forgets one, and its pages that are in no other. Raises NotFound, Busy (EBUSY) while somebody holds it."""
        await self._door.call(abi.FORGET, abi.Forget(name=name))

"""An account, as a program holds it: `sys.account()` is its own."""

from typing import final

from syscalls.calls import account
from syscalls.calls.account import AccountInfo, AccountUsage
from userland.sdk.door import Door


@final
class Account:
    """One account by its address: None for the caller's own, a pid, or a name."""

    def __init__(self, door: Door, address: str | int | None) -> None:
        self._door = door
        self.address = None if address is None else str(address)

    async def usage(self) -> AccountInfo:
        """What it used, holds and may use."""
        told: AccountUsage = await self._door.call(account.USAGE, account.Usage(account=self.address))
        return told.accounts[0]

    async def tree(self) -> tuple[AccountInfo, ...]:
        """The same of it and of all below it, parents first."""
        told: AccountUsage = await self._door.call(account.USAGE, account.Usage(account=self.address, tree=True))
        return told.accounts

    async def limit(self, limits: dict[str, int | None]) -> AccountInfo:
        """Sets limits; None takes one away: `await sys.account(7).limit({"tokens": 10_000, "calls": None})`."""
        info: AccountInfo = await self._door.call(account.LIMIT, account.Limit(account=self.address, limits=limits))
        return info

    async def transfer(self, target: str | int, amounts: dict[str, int]) -> None:
        """Moves unused allowance to a sibling, a child or the parent. Raises OverQuota where there is not so much."""
        args = account.Transfer(source=self.address, target=str(target), amounts=amounts)
        await self._door.call(account.TRANSFER, args)

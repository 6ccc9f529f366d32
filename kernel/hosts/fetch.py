"""The port on the fetch broker: exchanges that are begun, pulled and dropped, whichever of the two dies first."""

import secrets
from collections import Counter
from typing import Any, final

import trio
from msgspec.structs import replace

from kernel.hosts.host import Host
from kernel.webrequest import Request
from syscalls import fetching as abi
from syscalls.errors import BrokenPipe, IOFailed, NotFound, OutcomeUnknown, SyscallError, TryAgain
from syscalls.row import Row


@final
class Web:
    """The fetch broker, as the net family needs it. `busy` counts what each process has under way."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.busy: Counter[int] = Counter()
        self._nursery: trio.Nursery | None = None

    def attach(self, nursery: trio.Nursery) -> None:
        """Where exchanges are dropped in."""
        self._nursery = nursery

    def number(self) -> int:
        """For an exchange that is about to begin; given back by `drop` whatever came of it."""
        return secrets.randbits(48)

    async def begin(self, number: int, request: Request, *, private: bool) -> abi.Began:
        """Sends it and waits for the head of the answer. Where the broker died under it, one that changes nothing is
        sent once more; of any other it is not known what it did: OutcomeUnknown (EUNKNOWN)."""
        url = request.url
        args = abi.Begin(
            device=0, exchange=number, scheme=url.scheme, host=url.host, port=url.port, authority=url.authority,
            target=url.target, method=request.method, headers=request.headers, body=request.body, private=private,
        )  # fmt: skip
        try:
            began: abi.Began = await self._call(abi.BEGIN, args)
        except BrokenPipe:
            if not request.repeatable:
                raise OutcomeUnknown(
                    f"the broker died under {request.method} {url.origin}: look there what it did"
                ) from None
            try:
                began = await self._call(abi.BEGIN, args)
            except BrokenPipe:
                raise IOFailed(f"two brokers died under {request.method} {url.origin}: try again") from None
        return began

    async def pull(self, number: int, count: int) -> abi.Pulled:
        """The next of the body. An answer that was cut by the broker's death is not begun anew: IOFailed (EIO)."""
        try:
            pulled: abi.Pulled = await self._call(abi.PULL, abi.Pull(device=0, exchange=number, count=count))
        except (BrokenPipe, NotFound):
            raise IOFailed("the broker died in the middle of the answer: ask again") from None
        return pulled

    async def resolve(self, host: str) -> tuple[str, ...]:
        """All addresses of a name, as the broker sees it. Raises NotFound (ENOENT), TryAgain (EAGAIN)."""
        try:
            found: abi.Resolved = await self._call(abi.RESOLVE, abi.Resolve(device=0, host=host))
        except BrokenPipe:
            raise TryAgain(f"the broker died while it looked up {host}: try again") from None
        return found.addresses

    def drop(self, number: int) -> None:
        """Closes the connection; never waits."""
        if self._nursery is not None and self.host.state == "ready":
            self._nursery.start_soon(self._dropped, number)

    def enter(self, pid: int, bound: int) -> None:
        """One more request of process `pid`. Raises TryAgain (EAGAIN) beyond the bound."""
        if self.busy[pid] >= bound:
            raise TryAgain(f"process {pid} has {bound} requests under way: wait for one, or raise bounds.fetches_max")
        self.busy[pid] += 1

    def leave(self, pid: int) -> None:
        self.busy[pid] -= 1
        if not self.busy[pid]:
            del self.busy[pid]

    async def _dropped(self, number: int) -> None:
        try:
            await self._call(abi.RELEASE, abi.Release(device=0, exchange=number))
        except SyscallError:  # a broker that is gone holds nothing
            pass

    async def _call(self, row: Row, args: Any) -> Any:
        return await self.host.call(row, lambda device: replace(args, device=device))

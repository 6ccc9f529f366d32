"""What a generation costs while it runs: its tokens as they come, its time a slice ahead."""

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar, final

import trio

from kernel.accounts.account import Accounts
from kernel.accounts.account_record import Hold
from syscalls.driver import Finished, Scored
from syscalls.errors import OverQuota, SyscallError
from syscalls.resources import MICRO

T = TypeVar("T")
SLICE_US = MICRO
"""Generation time is held by so much at a time, where it is limited."""


@final
class Meter:
    """What a generation has cost so far. Until a driver has finished it counts for itself: the prompt once the driver
    was asked, and every token that came; a driver that refused did nothing. `first_s` is when the first token came, by
    `now`."""

    def __init__(self, expected: int, now: Callable[[], float] = float) -> None:
        self._expected = expected
        self._now = now
        self.first_s: float | None = None
        self.prompt_tokens = 0
        self.generated_tokens = 0
        self.cached_tokens = 0

    @property
    def service(self) -> int:
        """Tokens that had to be computed."""
        return self.prompt_tokens - self.cached_tokens + self.generated_tokens

    def asked(self) -> None:
        """The driver has the prompt."""
        self.prompt_tokens = self._expected

    def came(self, tokens: int) -> None:
        """So many more were generated."""
        if self.first_s is None:
            self.first_s = self._now()
        self.generated_tokens += tokens

    def failed(self) -> None:
        """The driver gave an error; without a token before it, it did nothing."""
        if not self.generated_tokens:
            self.prompt_tokens = 0

    def read(self, scored: Scored) -> None:
        """The driver's own count of what it read and only scored."""
        self.prompt_tokens = scored.prompt_tokens
        self.cached_tokens = scored.cached_tokens

    def finished(self, done: Finished) -> None:
        """The driver's own count, which is what is charged."""
        self.prompt_tokens = done.prompt_tokens
        self.generated_tokens = done.generated_tokens
        self.cached_tokens = done.cached_tokens


def in_micros(seconds: float) -> int:
    """Microseconds, a begun one counted."""
    return math.ceil(seconds * MICRO)


async def timed(accounts: Accounts, hold: Hold, model: str, work: Callable[[], Awaitable[T]]) -> T:
    """Does `work`; where its time is limited, that is held a slice ahead of its use: nobody knows how long an answer
    takes, and all that is left may be needed by others too. Raises OverQuota when there is no more of it."""
    if not any(accounts.limited(hold.account, resource) for resource in accounts.time(model, 1)):
        return await work()
    finished: T | None = None
    failed: SyscallError | None = None
    slice_us = _hold_time(accounts, hold, model)
    async with trio.open_nursery() as nursery:

        async def hold_more() -> None:
            nonlocal failed, slice_us
            try:
                while True:
                    await trio.sleep(slice_us / MICRO)
                    slice_us = _hold_time(accounts, hold, model)
            except OverQuota as spent:
                failed = spent
                nursery.cancel_scope.cancel()

        nursery.start_soon(hold_more)
        try:
            finished = await work()
        except SyscallError as refused:
            failed = refused
        nursery.cancel_scope.cancel()
    if finished is not None:
        return finished
    assert failed is not None
    raise failed


def _hold_time(accounts: Accounts, hold: Hold, model: str) -> int:
    """Holds the next slice, or what there is of it; its microseconds. Raises OverQuota when there is nothing."""
    slice_us = SLICE_US
    for resource, each in accounts.time(model, 1).items():
        room = accounts.room(hold.account, resource)
        if room is not None:
            slice_us = min(slice_us, max(1, room // each))
    accounts.extend(hold, accounts.time(model, slice_us))
    return slice_us

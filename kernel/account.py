"""Accounts: budgets of tokens and time that form a tree; held before the work, settled after it, without IO."""

from collections.abc import Callable, Iterator
from typing import final

from kernel.panic import KernelPanic
from syscalls.errors import OverQuota

OVERHEAD = "kernel:overhead"


@final
class Account:
    """One budget. `used` and `held` count this account and all below it; only `Accounts` changes them."""

    __slots__ = (
        "children", "closed", "deadline_s", "gone", "held", "name", "opened_s", "own", "parent", "principal",
        "tokens_max", "used",
    )  # fmt: skip

    def __init__(
        self,
        parent: "Account | None",
        *,
        name: str,
        principal: str,
        tokens_max: int | None,
        opened_s: float,
        deadline_s: float | None,
    ) -> None:
        self.parent = parent
        self.name = name
        self.principal = principal
        self.tokens_max = tokens_max
        self.opened_s = opened_s
        self.deadline_s = deadline_s
        self.children: set[Account] = set()
        self.used = 0
        self.held = 0
        self.own = 0
        self.closed = False
        self.gone = False

    def chain(self) -> "Iterator[Account]":
        """This account and each ancestor, nearest first."""
        account: Account | None = self
        while account is not None:
            yield account
            account = account.parent

    @property
    def room(self) -> int | None:
        """What it may still hold by its own limit; None: it has none."""
        return None if self.tokens_max is None else max(0, self.tokens_max - self.used - self.held)


@final
class Hold:
    """Tokens set aside for work that is about to be done; ends by `Accounts.settle`, exactly once."""

    __slots__ = ("account", "settled", "tokens")

    def __init__(self, account: Account, tokens: int) -> None:
        self.account = account
        self.tokens = tokens
        self.settled = False


@final
class Accounts:
    """All accounts. `now` is the clock's; `overhead` is charged for what the kernel itself caused.

    `charged` is the sum over everything ever charged: it equals what driver hosts did (see `check`).
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._roots: set[Account] = set()
        self._gone = 0
        self.charged = 0
        self.overhead = self.open(None, name=OVERHEAD, principal="kernel", tokens_max=None, wall_s_max=None)

    def open(
        self,
        parent: Account | None,
        *,
        name: str,
        principal: str,
        tokens_max: int | None,
        wall_s_max: float | None,
    ) -> Account:
        """A new account below `parent`; None is no limit of its own. Raises OverQuota below a closed account."""
        if parent is not None and parent.closed:
            raise OverQuota(f"account {parent.name} is closed: nothing can be opened below it")
        now = self._now()
        account = Account(
            parent,
            name=name,
            principal=principal,
            tokens_max=tokens_max,
            opened_s=now,
            deadline_s=None if wall_s_max is None else now + wall_s_max,
        )
        (self._roots if parent is None else parent.children).add(account)
        return account

    def hold(self, account: Account, tokens: int) -> Hold:
        """Sets `tokens` aside on the account and each ancestor, all or none.

        Raises OverQuota (EQUOTA) that names the account whose limit is in the way, with the numbers.
        """
        if tokens < 0:
            raise KernelPanic(f"a hold of {tokens} tokens on {account.name}")
        if account.closed:
            raise OverQuota(f"account {account.name} is closed: the process it belonged to has ended")
        for each in account.chain():
            room = each.room
            if room is not None and tokens > room:
                raise OverQuota(
                    f"account {each.name} may spend {each.tokens_max} tokens, has used {each.used} and holds "
                    f"{each.held}: {tokens} more do not fit; ask for fewer (max_tokens, clip) or raise the budget"
                )
        for each in account.chain():
            each.held += tokens
        return Hold(account, tokens)

    def room(self, account: Account) -> int | None:
        """The most that `hold` would grant now; None: there is no limit on the way up."""
        rooms = [room for each in account.chain() if (room := each.room) is not None]
        return min(rooms) if rooms else None

    def settle(self, hold: Hold, used: int) -> int:
        """Ends `hold` and charges `used`, what the driver did; returns by how much that exceeds what was held.

        A driver that did more than it was asked is charged for in full: the sum stays true, and the next hold fails.
        """
        if hold.settled:
            raise KernelPanic(f"a hold of {hold.tokens} tokens on {hold.account.name} was settled twice")
        hold.settled = True
        for each in hold.account.chain():
            each.held -= hold.tokens
        self.charge(hold.account, used)
        return max(0, used - hold.tokens)

    def charge(self, account: Account, tokens: int) -> None:
        """Charges work that was not held for (embedding, the kernel's own overhead)."""
        if tokens < 0:
            raise KernelPanic(f"a charge of {tokens} tokens to {account.name}")
        account.own += tokens
        self.charged += tokens
        self._gone += tokens if account.gone else 0
        for each in account.chain():
            each.used += tokens
        self._forget(account)

    def wall_deadline(self, account: Account) -> float | None:
        """The earliest deadline of the account and its ancestors, in the time of `now`; None: there is none."""
        deadlines = [each.deadline_s for each in account.chain() if each.deadline_s is not None]
        return min(deadlines) if deadlines else None

    def close(self, account: Account) -> None:
        """Nothing more is held on it; what is still under way settles on it. Closing twice is the same as once."""
        account.closed = True
        self._forget(account)

    def all(self) -> Iterator[Account]:
        """Every account there is, parents first."""
        stack = list(self._roots)
        while stack:
            account = stack.pop()
            yield account
            stack.extend(account.children)

    def check(self) -> None:
        """Raises KernelPanic unless the books balance: for tests and the invariants."""
        total = self._gone
        for account in self.all():
            total += account.own
            if account.held < 0 or account.used < account.own:
                raise KernelPanic(
                    f"account {account.name}: held {account.held}, used {account.used}, own {account.own}"
                )
            if account.used < account.own + sum(child.used for child in account.children):
                raise KernelPanic(f"account {account.name} used less than the accounts below it")
            if account.held < sum(child.held for child in account.children):
                raise KernelPanic(f"account {account.name} holds less than the accounts below it")
        if total != self.charged:
            raise KernelPanic(f"accounts were charged {total} tokens in sum, the books say {self.charged}")

    def _forget(self, account: Account) -> None:
        """Drops closed accounts at which nothing goes on; what they used stays in their parents."""
        for each in tuple(account.chain()):
            if each.gone or not each.closed or each.held or each.children:
                return
            (self._roots if each.parent is None else each.parent.children).discard(each)
            each.gone = True
            self._gone += each.own

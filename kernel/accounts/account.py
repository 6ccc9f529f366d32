"""Accounts: limits on what may be used, in a tree; held before the work, settled after it, without IO.

Two kinds of resource. What is *consumed* (tokens, generation time, calls, money) is held at the worst case before the
work and settled to what was done after it. What is *occupied* (bytes, processes, contexts) is taken and given back.
Either counts on the account and on each ancestor, all or none: a limit binds everything below it, whoever is quicker.

`used` and `held` of an account count all below it, `own` what was its own doing, with what closed accounts below it
left. Calls alone are counted otherwise, for every call passes here: only on the account itself and on those above it
that limit calls. Their sum is made when somebody asks.
"""

from collections.abc import Callable, Iterator
from typing import final

from kernel.accounts.account_record import Account, Amounts, Hold, tokens
from kernel.accounts.price import FREE, Price
from kernel.accounts.refusal import over_quota, show
from kernel.panic import KernelPanic
from syscalls.errors import OverQuota
from syscalls.resources import NAMES, Resource

OVERHEAD = "kernel:overhead"
CALLS, TOKENS = Resource.CALLS, Resource.TOKENS
_NONE: dict[Resource, int] = {}


@final
class Accounts:
    """All accounts. `now` is the clock's; `overhead` is charged for what the kernel itself caused.

    `charged` is the sum over everything ever charged: it equals what driver hosts did (see `check`); `did` has the same
    by model, and is in no tree. `on_limit` is told
    of an account that was refused something and of the one whose limit was in the way, once until that has room again.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._roots: set[Account] = set()
        self.charged = [0] * len(Resource)
        self._restored = [0] * len(Resource)
        self.on_limit: Callable[[Account, Account, Resource], None] = _nobody
        self.price_of: Callable[[str], Price] = _free
        self.on_use: Callable[[Account], None] = _nobody_cares
        self.overhead = self.open(None, name=OVERHEAD, principal="kernel")
        self.did = Account(None, name="machine", principal="kernel", limits=_NONE, deadline_s=None)

    @property
    def tokens(self) -> int:
        """Tokens that were ever charged to anybody."""
        return self.charged[TOKENS]

    # What work costs.

    def worst(self, model: str, prompt: int, generated: int = 0) -> Amounts:
        """The most that so many tokens of a model can cost, its time left out."""
        amounts = tokens(prompt, generated)
        price = self.price_of(model)
        if price is not FREE:
            amounts[Resource.MONEY] = price.worst(prompt, generated)
        return amounts

    def time(self, model: str, generation_us: int) -> Amounts:
        """What so much time of a model costs."""
        amounts = {Resource.GENERATION: generation_us}
        if (price := self.price_of(model)).per_second:
            amounts[Resource.MONEY] = price.cost(0, 0, generation_us=generation_us)
        return amounts

    def cost(self, model: str, prompt: int, generated: int = 0, *, cached: int = 0, generation_us: int = 0) -> Amounts:
        """What was done, as it is charged."""
        amounts = tokens(prompt, generated)
        if generation_us:
            amounts[Resource.GENERATION] = generation_us
        price = self.price_of(model)
        if price is not FREE:
            amounts[Resource.MONEY] = price.cost(prompt, generated, cached=cached, generation_us=generation_us)
        return amounts

    # The tree.

    def open(
        self,
        parent: Account | None,
        *,
        name: str,
        principal: str,
        limits: Amounts = _NONE,
        wall_s_max: float | None = None,
    ) -> Account:
        """A new account below `parent`, with limits of its own. Raises OverQuota below a closed account."""
        if parent is not None and parent.closed:
            raise OverQuota(f"account {parent.shown} is closed: nothing can be opened below it")
        account = Account(
            parent,
            name=name,
            principal=principal,
            limits=dict(limits) if limits else _NONE,
            deadline_s=None if wall_s_max is None else self._now() + wall_s_max,
        )
        if parent is None:
            self._roots.add(account)
        else:
            if parent.children is None:
                parent.children = set()
            parent.children.add(account)
            account.capped = parent.capped
        if CALLS in account.limits:
            account.capped = (account, *account.capped)
        return account

    def close(self, account: Account) -> None:
        """Nothing more is held on it; what is still under way settles on it, what it still occupies is its parent's
        to give back. Closing twice is the same as once."""
        account.closed = True
        self._forget(account)

    def all(self) -> Iterator[Account]:
        """Every account there is, parents first."""
        stack = list(self._roots)
        while stack:
            account = stack.pop()
            yield account
            stack.extend(account.below())

    def wall_deadline(self, account: Account) -> float | None:
        """The earliest deadline of the account and its ancestors, in the time of `now`; None: there is none."""
        deadlines = [each.deadline_s for each in account.chain() if each.deadline_s is not None]
        return min(deadlines) if deadlines else None

    # What is consumed.

    def count_call(self, account: Account) -> None:
        """Counts one call. Raises OverQuota where a limit on calls is used up; then nothing is counted."""
        if account.capped:
            self._admit(account, {CALLS: 1})
            for each in account.capped:
                each.used[CALLS] += 1
        account.own[CALLS] += 1

    def hold(self, account: Account, amounts: Amounts) -> Hold:
        """Sets `amounts` aside on the account and each ancestor, all or none.

        Raises OverQuota (EQUOTA) that names the account whose limit is in the way, with the numbers.
        """
        hold = Hold(account, _NONE)
        self.extend(hold, amounts)
        return hold

    def extend(self, hold: Hold, amounts: Amounts) -> None:
        """Sets more aside for the same work, all or none. Raises OverQuota."""
        account = hold.account
        if hold.settled or any(amount < 0 for amount in amounts.values()):
            raise KernelPanic(f"a hold of {dict(amounts)} on {account.name}, settled: {hold.settled}")
        self._admit(account, amounts)
        for resource, amount in amounts.items():
            hold.amounts[resource] = hold.amounts.get(resource, 0) + amount
            for each in account.chain():
                each.held[resource] += amount

    def settle(self, hold: Hold, done: Amounts, *, model: str = "", cached: int = 0) -> int:
        """Ends `hold` and charges `done`, what the driver did; returns by how many tokens that exceeds what was held.

        A driver that did more than it was asked is charged for in full: the sum stays true, and the next hold fails.
        """
        if hold.settled:
            raise KernelPanic(f"a hold of {hold.amounts} on {hold.account.name} was settled twice")
        hold.settled = True
        for each in hold.account.chain():
            each.told = 0
            for resource, amount in hold.amounts.items():
                each.held[resource] -= amount
        self.charge(hold.account, done, model=model, cached=cached)
        return max(0, done.get(TOKENS, 0) - hold.tokens)

    def charge(self, account: Account, done: Amounts, *, model: str = "", cached: int = 0) -> None:
        """Charges work that was not held for (the kernel's own overhead). With a `model` it is one job of it."""
        account = account.living()
        for resource, amount in done.items():
            if amount < 0:
                raise KernelPanic(f"a charge of {amount} {NAMES[resource]} to {account.name}")
            account.own[resource] += amount
            self.charged[resource] += amount
            for each in account.chain():
                each.used[resource] += amount
        if model:
            self.did.use_of(model).add(done, cached)
            for each in account.chain():
                each.use_of(model).add(done, cached)
        self.on_use(account)
        self._forget(account)

    def restore(self, account: Account, amounts: Amounts) -> None:
        """Says what the account used, or still occupies, from an earlier life of the kernel; no limit stops it."""
        for resource, amount in amounts.items():
            account.own[resource] += amount
            self._restored[resource] += amount
            for each in account.chain():
                if resource is not CALLS or CALLS in each.limits:
                    each.used[resource] += amount

    # What is occupied.

    def occupy(self, account: Account, resource: Resource, amount: int) -> None:
        """Takes `amount` on the account and each ancestor, all or none. Raises OverQuota."""
        self._admit(account, {resource: amount})
        account.own[resource] += amount
        for each in account.chain():
            each.used[resource] += amount

    def vacate(self, account: Account, resource: Resource, amount: int) -> int:
        """Gives `amount` back, from the account or, for what is not its own, from those above it; returns how much was
        there to be given back. Works on an account that is gone: what it left is its parent's."""
        left = amount
        for each in account.living().chain():
            part = min(left, each.own[resource])
            if part:
                each.own[resource] -= part
                left -= part
                for above in each.chain():
                    above.used[resource] -= part
                    above.told &= ~(1 << resource)
                self._forget(each)
            if not left:
                break
        return amount - left

    def store(self, account: Account, delta_bytes: int) -> None:
        """Says that `account` keeps so many bytes more, or less. Raises OverQuota for growth that does not fit; then
        nothing is changed. Shrinking never fails, also after the account was closed."""
        if delta_bytes > 0:
            self.occupy(account, Resource.BYTES, delta_bytes)
        elif delta_bytes:
            self.vacate(account, Resource.BYTES, -delta_bytes)

    # Limits.

    def room(self, account: Account, resource: Resource = TOKENS) -> int | None:
        """The most that `hold` would grant now; None: there is no limit on the way up."""
        rooms = [room for each in account.chain() if (room := each.room(resource)) is not None]
        return min(rooms) if rooms else None

    def limited(self, account: Account, resource: Resource) -> bool:
        """Whether there is a limit on the way up."""
        return any(resource in each.limits for each in account.chain())

    def limit(self, account: Account, resource: Resource, limit: int | None) -> None:
        """Sets a limit, or with None takes it away. One below what is used already lets nothing more through."""
        if limit is not None and limit < 0:
            raise KernelPanic(f"a limit of {limit} on {account.name}")
        limits = dict(account.limits)
        if limit is None:
            limits.pop(resource, None)
        else:
            limits[resource] = limit
        account.limits = limits or _NONE
        account.told &= ~(1 << resource)
        if resource is CALLS:
            account.used[CALLS] = self.used(account, CALLS)
            account.cap()

    def transfer(self, source: Account, target: Account, amounts: Amounts) -> None:
        """Moves unused allowance between two accounts of one parent, or between an account and one right below it; all
        of it or none.

        Siblings: the one limit falls as the other rises. Downwards and upwards only the lower one's limit moves: it was
        always within the upper one's. Raises OverQuota where `source` has not so much left, ValueError where the two
        are not so related or a limit is missing.
        """
        down, up = target.parent is source, source.parent is target
        if source is target or not (down or up or (source.parent is target.parent and source.parent is not None)):
            raise ValueError(f"{source.shown} and {target.shown} are neither siblings nor parent and child")
        for resource, amount in amounts.items():
            for each in (target,) if down else (source,) if up else (source, target):
                if resource not in each.limits:
                    raise ValueError(f"{each.shown} has no limit on {NAMES[resource]}: there is nothing to move")
            room = source.room(resource)
            if room is not None and room < amount:
                raise OverQuota(f"{source.shown} has {show(resource, room)} left, not {show(resource, amount)}")
        for resource, amount in amounts.items():
            if not down:
                self.limit(source, resource, source.limits[resource] - amount)
            if not up:
                self.limit(target, resource, target.limits[resource] + amount)

    def used(self, account: Account, resource: Resource) -> int:
        """What the account and all below it used, or occupy."""
        if resource is not CALLS:
            return account.used[resource]
        total, stack = 0, [account]
        while stack:
            each = stack.pop()
            total += each.own[CALLS]
            stack.extend(each.below())
        return total

    # The books.

    def check(self) -> None:
        """Raises KernelPanic unless the books balance: for tests and the invariants."""
        total = [0] * len(Resource)
        for account in self.all():
            for resource in Resource:
                total[resource] += account.own[resource]
                if account.held[resource] < sum(child.held[resource] for child in account.below()):
                    raise KernelPanic(f"account {account.name} holds less than the accounts below it")
                if resource is not CALLS or CALLS in account.limits:
                    below = sum(self.used(child, resource) for child in account.below())
                    if account.used[resource] != account.own[resource] + below or account.own[resource] < 0:
                        raise KernelPanic(
                            f"account {account.name} used {account.used[resource]} {NAMES[resource]}, "
                            f"{account.own[resource]} itself and {below} below it"
                        )
        for resource in (Resource.TOKENS_IN, Resource.TOKENS_OUT, TOKENS, Resource.GENERATION, Resource.MONEY):
            known = self.charged[resource] + self._restored[resource]
            if total[resource] != known:
                raise KernelPanic(f"accounts were charged {total[resource]} {NAMES[resource]}, the books say {known}")

    def _admit(self, account: Account, amounts: Amounts) -> None:
        """Raises OverQuota unless all of it fits here and all the way up."""
        if account.closed:
            raise OverQuota(f"account {account.shown} is closed: the process it belonged to has ended")
        each: Account | None = account
        while each is not None:
            if each.limits:
                for resource, amount in amounts.items():
                    room = each.room(resource)
                    if room is not None and amount > room:
                        raise self._over(account, each, resource, amount)
            each = each.parent

    def _over(self, account: Account, limited: Account, resource: Resource, amount: int) -> OverQuota:
        if not limited.told >> resource & 1:
            limited.told |= 1 << resource
            self.on_limit(account, limited, resource)
        return over_quota(limited, resource, amount)

    def _forget(self, account: Account) -> None:
        """Drops closed accounts at which nothing goes on; what they used, and still occupy, is their parents'."""
        each = account
        while each.closed and not each.gone and not each.children and not any(each.held):
            parent = each.parent
            if parent is None or parent.children is None:
                return
            for resource, amount in enumerate(each.own):
                parent.own[resource] += amount
            parent.children.discard(each)
            each.gone = True
            each = parent


def _free(model: str) -> Price:
    return FREE


def _nobody(account: Account, limited: Account, resource: Resource) -> None:
    """Nobody wants to know of limits."""


def _nobody_cares(account: Account) -> None:
    """Nobody keeps what accounts use."""

"""One account of the tree, and a hold on it: the records that `Accounts` keeps."""

from collections.abc import Iterator, Mapping
from typing import final

from kernel.accounts.model_use import ModelUse
from syscalls.resources import Resource

MODELS_MAX = 64
"""An account keeps apart what so many models did for it; the rest is one line."""
OTHER_MODELS = "other"
Amounts = Mapping[Resource, int]
"""How much of which resource; money in picos (kernel/accounts/price.py)."""


def tokens(prompt: int, generated: int = 0) -> dict[Resource, int]:
    """The amounts of so many tokens read and generated."""
    return {Resource.TOKENS_IN: prompt, Resource.TOKENS_OUT: generated, Resource.TOKENS: prompt + generated}


@final
class Account:
    """One node of the tree; only `Accounts` changes it. `pid` is the process it was opened for, 0 for named ones."""

    __slots__ = (
        "capped", "children", "closed", "deadline_s", "gone", "held", "limits", "models", "name", "own", "parent",
        "pid", "principal", "told", "used",
    )  # fmt: skip

    def __init__(
        self,
        parent: "Account | None",
        *,
        name: str,
        principal: str,
        limits: dict[Resource, int],
        deadline_s: float | None,
    ) -> None:
        self.parent = parent
        self.name = name
        self.principal = principal
        self.pid = 0
        self.limits = limits
        self.deadline_s = deadline_s
        self.children: set[Account] | None = None
        self.used = [0] * len(Resource)
        self.held = [0] * len(Resource)
        self.own = [0] * len(Resource)
        self.models: dict[str, ModelUse] | None = None
        self.capped: tuple[Account, ...] = ()
        self.told = 0
        self.closed = False
        self.gone = False

    def chain(self) -> "Iterator[Account]":
        """This account and each ancestor, nearest first."""
        account: Account | None = self
        while account is not None:
            yield account
            account = account.parent

    def room(self, resource: Resource) -> int | None:
        """What it may still take by its own limit; None: it has none."""
        limit = self.limits.get(resource)
        return None if limit is None else max(0, limit - self.used[resource] - self.held[resource])

    def living(self) -> "Account":
        """This account, or whoever has inherited from it."""
        account = self
        while account.gone:
            assert account.parent is not None
            account = account.parent
        return account

    def use_of(self, model: str) -> ModelUse:
        """What a model did for it."""
        if self.models is None:
            self.models = {}
        found = self.models.get(model)
        if found is None:
            key = model if len(self.models) < MODELS_MAX else OTHER_MODELS
            found = self.models.setdefault(key, ModelUse())
        return found

    def cap(self) -> None:
        """Makes out anew who above whom limits calls, from here down."""
        stack = [self]
        while stack:
            each = stack.pop()
            above = () if each.parent is None else each.parent.capped
            each.capped = (each, *above) if Resource.CALLS in each.limits else above
            stack.extend(each.below())

    def below(self) -> "Iterator[Account]":
        """The accounts opened below it that are still there."""
        return iter(self.children or ())

    @property
    def address(self) -> str:
        """What it is asked for by: its name, or the pid of its process."""
        return str(self.pid) if self.pid else self.name

    @property
    def shown(self) -> str:
        """What people call it."""
        return f"{self.name} (process {self.pid})" if self.pid else self.name


@final
class Hold:
    """Amounts set aside for work that is about to be done; ends by `Accounts.settle`, exactly once."""

    __slots__ = ("account", "amounts", "settled")

    def __init__(self, account: Account, amounts: Amounts) -> None:
        self.account = account
        self.amounts = dict(amounts)
        self.settled = False

    @property
    def tokens(self) -> int:
        """Tokens held, read and generated."""
        return self.amounts.get(Resource.TOKENS, 0)

"""The account family: usage, limits, transfers."""

from collections.abc import Iterator

from kernel.accounts.account import Accounts
from kernel.accounts.account_record import Account
from kernel.accounts.price import micros
from kernel.budget import checked, resource_of
from kernel.gate import Handler
from kernel.ledger import out_of_units
from kernel.machine import Machine
from kernel.trap import Trap
from kernel.wait import slowly
from syscalls.calls import account as abi
from syscalls.calls.process import Nothing
from syscalls.errors import Invalid
from syscalls.resources import NAMES, Resource

ACCOUNTS_AT_ONCE = 32


async def usage(machine: Machine, trap: Trap, args: abi.Usage) -> abi.AccountUsage:
    top = machine.roster.find(trap.process, args.account)
    if not args.tree:
        return abi.AccountUsage(accounts=(_told(machine.accounts, top, 0),))
    told: list[abi.AccountInfo] = []
    more = 0
    async for account, depth in slowly(_below(top), at_once=ACCOUNTS_AT_ONCE):
        if len(told) < abi.ACCOUNTS_MAX:
            told.append(_told(machine.accounts, account, depth))
        else:
            more += 1
    return abi.AccountUsage(accounts=tuple(told), more=more)


async def limit(machine: Machine, trap: Trap, args: abi.Limit) -> abi.AccountInfo:
    account = machine.roster.find(trap.process, args.account)
    if not args.limits:
        raise Invalid(f"no limits: name at least one of {', '.join(NAMES)}")
    limits = {resource_of(name): None if limit is None else checked(name, limit) for name, limit in args.limits.items()}
    for resource, limit in limits.items():
        machine.ledger.limit(account, resource, limit)
    trap.detail = ", ".join(f"{name}={limit}" for name, limit in args.limits.items())
    await machine.ledger.keep()
    return _told(machine.accounts, account, 0)


async def transfer(machine: Machine, trap: Trap, args: abi.Transfer) -> Nothing:
    source = machine.roster.find(trap.process, args.source)
    target = machine.roster.find(trap.process, args.target)
    amounts = {resource_of(name): checked(name, amount) for name, amount in args.amounts.items()}
    if not any(amounts.values()):
        raise Invalid(f"no amounts: name at least one of {', '.join(NAMES)}")
    try:
        machine.ledger.transfer(source, target, amounts)
    except ValueError as unrelated:
        raise Invalid(str(unrelated)) from None
    await machine.ledger.keep()
    return Nothing()


def _below(top: Account) -> Iterator[tuple[Account, int]]:
    """The account and all below it, each followed by its own, those with names first."""
    stack = [(top, 0)]
    while stack:
        account, depth = stack.pop()
        yield account, depth
        below = sorted(account.below(), key=lambda each: (each.pid, each.name), reverse=True)
        stack.extend((each, depth + 1) for each in below)


def _told(accounts: Accounts, account: Account, depth: int) -> abi.AccountInfo:
    return abi.AccountInfo(
        address=account.address,
        name=account.name,
        principal=account.principal,
        pid=account.pid,
        parent=account.parent.address if account.parent is not None else "",
        depth=depth,
        closed=account.closed,
        resources=tuple(_resources(accounts, account)),
        models=models_told(account),
    )


def models_told(account: Account) -> tuple[abi.ModelUse, ...]:
    """What models did for it."""
    return tuple(
        abi.ModelUse(
            model=model,
            jobs=use.jobs,
            tokens_in=use.tokens_in,
            tokens_out=use.tokens_out,
            cached=use.cached,
            generation_us=use.generation_us,
            money_micros=micros(use.picos),
        )
        for model, use in (account.models or {}).items()
    )


def _resources(accounts: Accounts, account: Account) -> Iterator[abi.ResourceUse]:
    for resource in Resource:
        used, held = accounts.used(account, resource), account.held[resource]
        limit, room = account.limits.get(resource), accounts.room(account, resource)
        if used or held or room is not None:
            yield abi.ResourceUse(
                resource=NAMES[resource],
                used=_up(resource, used),
                held=_up(resource, held),
                limit=None if limit is None else out_of_units(resource, limit),
                room=None if room is None else out_of_units(resource, room),
            )


def _up(resource: Resource, amount: int) -> int:
    return micros(amount) if resource is Resource.MONEY else amount


HANDLERS: dict[int, Handler] = {
    abi.USAGE.number: usage,
    abi.LIMIT.number: limit,
    abi.TRANSFER.number: transfer,
}

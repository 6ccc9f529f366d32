"""Budgets as callers write them, checked and in the units of accounts."""

from kernel.accounts.account_record import Amounts
from kernel.ledger import in_units
from syscalls.calls.process import Budget
from syscalls.errors import Invalid
from syscalls.resources import AMOUNT_MAX, BY_NAME, MICRO, NAMES, Resource


def limits_of(budget: Budget) -> Amounts:
    """The limits that `budget` sets. Raises Invalid (EINVAL) for what is no amount."""
    limits: dict[Resource, int] = {}
    for resource, name in zip(Resource, NAMES, strict=True):
        if resource is Resource.GENERATION:
            if budget.generation_s is not None:
                limits[resource] = _micros(budget.generation_s)
        elif (limit := getattr(budget, name)) is not None:
            limits[resource] = checked(name, limit)
    if budget.wall_s is not None and not 0 < budget.wall_s < float("inf"):
        raise Invalid(f"a budget of {budget.wall_s} s: give more than 0, or none for no limit")
    return limits


def narrower(one: Budget, other: Budget) -> Budget:
    """What both allow."""
    both = ((name, getattr(one, name), getattr(other, name)) for name in one.__struct_fields__)
    said = {name: [limit for limit in limits if limit is not None] for name, *limits in both}
    return Budget(**{name: min(limits) for name, limits in said.items() if limits})


def resource_of(name: str) -> Resource:
    """The resource of that name. Raises Invalid that lists them."""
    found = BY_NAME.get(name)
    if found is None:
        raise Invalid(f"no resource {name!r}: there are {', '.join(NAMES)}")
    return found


def checked(name: str, limit: int) -> int:
    """A limit of the ABI in the units of accounts. Raises Invalid."""
    resource = resource_of(name)
    if not 0 <= limit <= AMOUNT_MAX:
        raise Invalid(f"a budget of {limit} {name}: give 0 or more, or none for no limit")
    return in_units(resource, limit)


def _micros(generation_s: float) -> int:
    if not 0 <= generation_s <= AMOUNT_MAX / MICRO:
        raise Invalid(f"a budget of {generation_s} s of generation: give 0 or more, or none for no limit")
    return round(generation_s * MICRO)

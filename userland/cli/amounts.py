"""Amounts of resources as they are typed: `tokens=20k,money=0.50`."""

import click

from syscalls.resources import MICRO, ResourceName, parse_amount

NONE = "none"


def parse(text: str, *, option: str, none: bool = False) -> dict[ResourceName, int | None]:
    """Reads `RESOURCE=AMOUNT,…`; with `none`, `RESOURCE=none` stands for no limit. Raises click's usage error."""
    amounts: dict[ResourceName, int | None] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        word, equals, amount = part.partition("=")
        if not equals:
            raise click.UsageError(f"{option}: {part!r}: write RESOURCE=AMOUNT, as in {option} tokens=20k,money=0.50")
        try:
            name, value = parse_amount(word.strip(), "0" if none and amount.strip().lower() == NONE else amount)
        except ValueError as bad:
            raise click.UsageError(f"{option}: {bad}") from None
        if name in amounts:
            raise click.UsageError(f"{option}: {word} stands there twice")
        amounts[name] = None if none and amount.strip().lower() == NONE else value
    if not amounts:
        raise click.UsageError(f"{option} is empty: write RESOURCE=AMOUNT, as in {option} tokens=20k,money=0.50")
    return amounts


def seconds(micros: int) -> float:
    """Microseconds as the ABI's budgets have them."""
    return micros / MICRO

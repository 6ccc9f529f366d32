"""What an account that is over its limit says, and what to do about it."""

from kernel.accounts.account_record import Account
from kernel.accounts.price import micros
from syscalls.errors import OverQuota
from syscalls.resources import NAMES, Resource, show_amount

_WORD = {Resource.MONEY: "money", Resource.GENERATION: "of generation", Resource.BYTES: "stored"}
_FLAG = {Resource.MONEY: "money", Resource.GENERATION: "generation", Resource.BYTES: "bytes"}
_ADVICE = {
    Resource.TOKENS: "ask for fewer (max_tokens, clip)",
    Resource.TOKENS_OUT: "ask for fewer (max_tokens, clip)",
    Resource.TOKENS_IN: "shorten the context",
    Resource.MONEY: "ask for fewer tokens (max_tokens, clip)",
    Resource.BYTES: "close contexts or remove files",
    Resource.PROCESSES: "wait for one to end",
    Resource.CONTEXTS: "close one",
    Resource.CALLS: "end here",
    Resource.GENERATION: "end here",
}


def over_quota(limited: Account, resource: Resource, amount: int) -> OverQuota:
    """The error for `amount` more than `limited` allows."""
    name = NAMES[resource]
    limit, used, held = limited.limits[resource], limited.used[resource], limited.held[resource]
    return OverQuota(
        f"account {limited.shown} may use {show(resource, limit)} {_WORD.get(resource, name)}, "
        f"has used {show(resource, used)} and holds {show(resource, held)}: {show(resource, amount)} more do not fit; "
        f"{_ADVICE[resource]}, or raise it: kernos account {limited.address} --limit {_FLAG.get(resource, name)}=…"
    )


def show(resource: Resource, amount: int) -> str:
    """An amount of an account for people."""
    return show_amount(NAMES[resource], micros(amount) if resource is Resource.MONEY else amount)

"""The bytes of private trees, on the accounts of who writes them: held before a write, settled after it."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from kernel.accounts.account_record import Account
from kernel.machine import Machine
from kernel.mount import principal_of
from syscalls.errors import NotFound, OutcomeUnknown
from syscalls.filing import Changed
from syscalls.mounts import Spot
from syscalls.resources import Resource

SCRATCH = re.compile(r"\.kernos-[0-9a-f]{16}")
"""A file that was to take another's place when its host died."""


def booted(machine: Machine) -> None:
    """Counts what private trees hold from an earlier life of the kernel, on their principals' own accounts, and clears
    away what a dead host had not finished."""
    trees = machine.config.state_folder / "files"
    for root in trees.iterdir() if trees.is_dir() else ():
        account = machine.ledger.account(principal_of(root.name))
        machine.accounts.restore(account, {Resource.BYTES: sum(map(_settled_size, root.rglob("*")))})


def _settled_size(path: Path) -> int:
    if path.is_symlink() or not path.is_file():
        return 0
    if SCRATCH.fullmatch(path.name):
        path.unlink()
        return 0
    return path.stat().st_size


def charge(machine: Machine, account: Account, delta: int) -> None:
    """`delta` bytes more (or less) are stored by `account`. Raises OverQuota (EQUOTA) where they are too many."""
    machine.accounts.store(account, delta)


async def growing(
    machine: Machine,
    account: Account,
    where: Spot,
    size_after: Callable[[int], int],
    work: Callable[[int | None], Awaitable[Changed]],
) -> Changed:
    """Runs `work`, which writes one file and is told by how much it may grow; `size_after` says what its size will be,
    from what it was. Writes of one private tree come one after another. Nothing is counted in folders of the host.

    Raises OverQuota (EQUOTA) before anything is written."""
    if not where.tree.private:
        return await work(None)
    async with machine.devices.files.books(where.tree.root):
        with trio.CancelScope(shield=True):  # what is written is counted, whoever has lost interest meanwhile
            before = await _size(machine, where)
            held = max(0, size_after(before) - before)
            charge(machine, account, held)
            grown = 0
            try:
                changed = await work(held)
                grown = changed.grown
            except OutcomeUnknown:
                grown = await _size(machine, where) - before
                raise
            finally:
                charge(machine, account, grown - held)
    await trio.lowlevel.checkpoint_if_cancelled()
    return changed


async def shrinking(machine: Machine, account: Account, where: Spot, work: Callable[[], Awaitable[Changed]]) -> None:
    """Runs `work`, which gives bytes back if `where` lies in a private tree."""
    if not where.tree.private:
        await work()
        return
    async with machine.devices.files.books(where.tree.root):
        with trio.CancelScope(shield=True):
            before = await _size(machine, where)
            try:
                grown = (await work()).grown
            except OutcomeUnknown:
                charge(machine, account, await _size(machine, where) - before)
                raise
            charge(machine, account, grown)


async def _size(machine: Machine, where: Spot) -> int:
    try:
        return (await machine.devices.files.stat(where)).size
    except NotFound:
        return 0

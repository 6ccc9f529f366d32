"""The bytes of private trees, on the accounts of who writes them: held before a write, settled after it."""

import contextlib
import os
import re
import stat
from collections.abc import Awaitable, Callable, Iterator
from itertools import starmap
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
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def booted(machine: Machine) -> None:
    """Counts what private trees hold from an earlier life of the kernel, on their principals' own accounts, and clears
    away what a dead host had not finished."""
    trees = machine.config.state_folder / "files"
    for root in (each for each in trees.iterdir() if each.is_dir()) if trees.is_dir() else ():
        account = machine.ledger.account(principal_of(root.name))
        machine.accounts.restore(account, {Resource.BYTES: sum(starmap(_settled_size, _below(root)))})


def _below(root: Path) -> Iterator[tuple[int, str]]:
    """Every name below `root` with a descriptor of the folder that it lies in, good until the next. The tree is at
    rest; it may be deeper than Python calls itself and than a path is long, for it is its owner who made it."""
    fd = os.open(root, _FOLDER)
    waiting = [os.listdir(fd)]
    try:
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                fd = _moved(fd, "..") if waiting else fd
                continue
            name = waiting[-1].pop()
            yield fd, name
            with contextlib.suppress(NotADirectoryError, FileNotFoundError, PermissionError):
                fd = _moved(fd, name)
                waiting.append(os.listdir(fd))
    finally:
        os.close(fd)


def _moved(fd: int, name: str) -> int:
    """The folder of that name in place of the one that it lies in. Raises OSError, and that one stays."""
    there = os.open(name, _FOLDER, dir_fd=fd)
    os.close(fd)
    return there


def _settled_size(folder: int, name: str) -> int:
    found = os.lstat(name, dir_fd=folder)
    if not stat.S_ISREG(found.st_mode):
        return 0
    if SCRATCH.fullmatch(name):
        os.unlink(name, dir_fd=folder)
        return 0
    return found.st_size


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

"""Control groups (cgroup v2) where this process may make any: one for the kernel, and in it one for each worker.

Of the controllers that can be had, `memory` bounds a worker in all (what it maps and shares included), `pids` its
processes, and `cpu` gives each worker the same share, so that what spins can be held back as a whole. Without any, a
group still ends all that is in it by one write, whatever it has forked.

A child is made in its group by the zygote (CLONE_INTO_CGROUP). To move it there later takes a lock of the whole
machine, which after a pause is waited for up to 10 ms. A kernel holds a lock on its folder: what no kernel holds was
left by one that was killed, and the next one removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, final

from sandbox.leaves import CONTROLLERS, write

_PREFIX: Final = "kernos-"
_OWN: Final = "kernel"
_TRIES: Final = 50
_PAUSE_S: Final = 0.002


class Tree(NamedTuple):
    """How a tree of groups is changed: the system's, or files in its shape that behave as it does."""

    make: Callable[[str], None] = os.mkdir
    write: Callable[[str, str], None] = write
    remove: Callable[[str], None] = os.rmdir


SYSTEM: Final = Tree()


class NoGroups(Exception):
    """This process can make no group; the sentence says why."""


@final
class Group:
    """The group of one worker. Nothing here raises where the group is gone."""

    def __init__(self, groups: Groups, name: str) -> None:
        self._groups = groups
        self.name = name
        self.path: Final = f"{groups.folder}/{name}"

    @property
    def shares(self) -> bool:
        """Whether the processor is divided among groups, so that a class given to its processes means nothing."""
        return "cpu" in self._groups.controllers

    def pids(self) -> list[int]:
        """Of the processes in it."""
        return [int(word) for word in _words(f"{self.path}/cgroup.procs")]

    def kill(self) -> None:
        """Ends all that is in it."""
        with contextlib.suppress(OSError):
            self._groups.tree.write(f"{self.path}/cgroup.kill", "1")

    def give_way(self, yes: bool) -> None:
        """Runs what is in it only when nobody else wants the processor, or as all others again."""
        with contextlib.suppress(OSError):
            self._groups.tree.write(f"{self.path}/cpu.idle", "1" if yes else "0")

    def ran_out_of_memory(self) -> bool:
        """Whether the system has killed in it for its limit of memory."""
        if "memory" not in self._groups.controllers:
            return False
        return any(kind == "oom_kill" and count != "0" for kind, count in _pairs(f"{self.path}/memory.events"))

    def remove(self) -> None:
        """Its worker has been reaped: whatever that left is ended, and the group goes."""
        self._groups.remove(self.name)


@final
class Groups:
    """A kernel's own group, which holds those of its workers. `controllers` are those in use, `lacking` says why others
    are not. Made by `make_groups`."""

    def __init__(
        self, folder: str, *, lock: int, controllers: frozenset[str], lacking: str, moved: bool, tree: Tree
    ) -> None:
        self.folder: Final = folder
        self.tree: Final = tree
        self.controllers: Final = controllers
        self.lacking: Final = lacking
        self._lock = lock
        self._moved = moved
        self._busy: set[str] = set()

    def open(self) -> int:
        """A descriptor of it, for a zygote; the caller closes it."""
        return os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def group(self, name: str) -> Group | None:
        """The group of a worker by the name its zygote gave it; None for none."""
        return Group(self, name) if name else None

    def remove(self, name: str) -> None:
        """Ends what is in a group and removes it; what does not die at once is tried again with the next."""
        self._busy.add(name)
        for each in tuple(self._busy):
            if _removed(self.tree, f"{self.folder}/{each}"):
                self._busy.discard(each)

    def forget(self, zygote: int) -> None:
        """A zygote is dead, its workers may not be: removes what it had made for nobody."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                if name.startswith(f"{zygote}-"):
                    with contextlib.suppress(OSError):
                        self.tree.remove(f"{self.folder}/{name}")

    def close(self) -> None:
        """Removes all of it. May be called again."""
        if self._lock < 0:
            return
        if self._moved:
            _move_back(self.tree, self.folder)
        _remove_tree(self.tree, self.folder, but=_OWN)
        os.close(self._lock)
        self._lock = -1


def make_groups(places: tuple[str, ...] | None = None, tree: Tree = SYSTEM) -> Groups:
    """Makes a kernel's group beside its process, in the first of `places` that lets it (None: where the system says
    that this process is), and removes what killed kernels left there. Raises NoGroups.

    Controllers can be handed down only from a group without processes of its own. Where this process is alone in its
    group, as a service is, it goes into a group below for that. Blocks for a millisecond or so.
    """
    said = "no cgroup2 is mounted"
    for place in own_places() if places is None else places:
        try:
            if not os.access(f"{place}/cgroup.procs", os.W_OK, effective_ids=True):
                raise PermissionError(errno.EACCES, "no process can be put into a group below")
            sweep(place, tree)
            folder, lock = _claimed(tree, place)
        except OSError as refused:
            said = f"{place}: {refused.strerror}"
            continue
        moved = _hand_down(tree, place, folder)
        used = _handed_to(tree, folder, CONTROLLERS)
        return Groups(
            folder,
            lock=lock,
            controllers=frozenset(used),
            lacking=_why_lacking(place, used),
            moved=moved,
            tree=tree,
        )
    raise NoGroups(said)


def own_places(
    mounts: Path = Path("/proc/self/mountinfo"), groups: Path = Path("/proc/self/cgroup")
) -> tuple[str, ...]:
    """Where the version 2 group of this process is to be seen, by each mount that shows it."""
    try:
        own = next(line[3:] for line in groups.read_text().splitlines() if line.startswith("0::"))
        lines = mounts.read_text().splitlines()
    except (OSError, StopIteration):
        return ()
    found = []
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.split()[:1] == ["cgroup2"] and not own.startswith("/.."):
            root, place = before.split()[3:5]
            if root == "/" or own == root or own.startswith(root + "/"):
                found.append(place + own.removeprefix(root if root != "/" else "").rstrip("/"))
    return tuple(found)


def sweep(place: str, tree: Tree = SYSTEM) -> None:
    """Ends and removes what killed kernels left in `place`; what dies too slowly is left to the next."""
    for name in os.listdir(place):
        if not name.startswith(_PREFIX):
            continue
        with contextlib.suppress(OSError):
            lock = os.open(f"{place}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_tree(tree, f"{place}/{name}")
            finally:
                os.close(lock)


def _claimed(tree: Tree, place: str) -> tuple[str, int]:
    """A new folder and the descriptor that locks it. One that another kernel swept away before it was locked is made
    again."""
    for number in range(_TRIES):
        folder = f"{place}/{_PREFIX}{os.getpid()}{f'-{number}' if number else ''}"
        try:
            tree.make(folder)
        except FileExistsError:
            continue
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(folder), os.fstat(lock)):
                return folder, lock
        except OSError:
            pass
        os.close(lock)
    raise OSError(errno.EAGAIN, "others take every group that is made")


def _hand_down(tree: Tree, place: str, folder: str) -> bool:
    """Hands controllers from `place` to `folder`; whether this process had to go into a group of its own for that."""
    there = [name for name in CONTROLLERS if name in _words(f"{place}/cgroup.controllers")]
    if len(_handed_to(tree, place, there)) == len(there) or _words(f"{place}/cgroup.procs") != [str(os.getpid())]:
        return False
    own = f"{folder}/{_OWN}"
    try:
        tree.make(own)
        tree.write(f"{own}/cgroup.procs", str(os.getpid()))
    except OSError:
        return False
    if _handed_to(tree, place, there):
        return True
    _move_back(tree, folder)
    return False


def _move_back(tree: Tree, folder: str) -> None:
    """Out of the group of its own, once nothing is handed down any more: a group with processes hands nothing down."""
    place = os.path.dirname(folder)
    with contextlib.suppress(OSError):
        for above in (folder, place):
            for name in _words(f"{above}/cgroup.subtree_control"):
                if name in CONTROLLERS:
                    tree.write(f"{above}/cgroup.subtree_control", f"-{name}")
        tree.write(f"{place}/cgroup.procs", str(os.getpid()))
        tree.remove(f"{folder}/{_OWN}")


def _handed_to(tree: Tree, folder: str, names: Sequence[str]) -> list[str]:
    """Hands those controllers that are there to the groups below `folder`; which of them these have now."""
    there = _words(f"{folder}/cgroup.controllers")
    for name in names:
        if name in there:
            with contextlib.suppress(OSError):
                tree.write(f"{folder}/cgroup.subtree_control", f"+{name}")
    return [name for name in names if name in _words(f"{folder}/cgroup.subtree_control")]


def _why_lacking(place: str, controllers: list[str]) -> str:
    there = _words(f"{place}/cgroup.controllers")
    absent = [name for name in CONTROLLERS if name not in there]
    kept = [name for name in CONTROLLERS if name in there and name not in controllers]
    told = [f"{', '.join(absent)} not in {place}"] if absent else []
    told += [f"{', '.join(kept)} not handed down: other processes are in {place}"] if kept else []
    return "; ".join(told)


def _removed(tree: Tree, path: str) -> bool:
    try:
        tree.remove(path)
    except FileNotFoundError:
        return True
    except OSError:
        with contextlib.suppress(OSError):
            tree.write(f"{path}/cgroup.kill", "1")
        return False
    return True


def _remove_tree(tree: Tree, folder: str, *, but: str = "") -> None:
    """Ends what is in the groups below and removes them, all `but` one; waits for the dying, a tenth of a second at
    most."""
    with contextlib.suppress(OSError):
        below = [entry.path for entry in os.scandir(folder) if entry.is_dir() and entry.name != but]
        for _ in range(_TRIES):
            below = [path for path in below if not _removed(tree, path)]
            if not below:
                break
            time.sleep(_PAUSE_S)
        tree.remove(folder)


def _words(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except OSError:
        return []


def _pairs(path: str) -> list[tuple[str, str]]:
    words = _words(path)
    return list(zip(words[::2], words[1::2], strict=False))

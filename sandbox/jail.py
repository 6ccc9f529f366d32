"""The walls that a worker stands behind: its namespaces and its root.

Two ways to take the binds, because a worker has lost the right to reach them by the time it needs them.
A privileged zygote takes them itself (`take_trees`), as root can walk folders that the worker's own uid
cannot, and maps root's files to that uid; the worker gets detached mounts. An unprivileged zygote may
not copy mounts at all, but its workers are the same user: they take the trees in their own namespace.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from sandbox import libc
from sandbox.limits import ROOT_BYTES, ROOT_INODES
from sandbox.spec import Bind

NAMESPACES: Final = {
    "user": libc.CLONE_NEWUSER,
    "mount": libc.CLONE_NEWNS,
    "pid": libc.CLONE_NEWPID,
    "net": libc.CLONE_NEWNET,
    "ipc": libc.CLONE_NEWIPC,
    "uts": libc.CLONE_NEWUTS,
    "cgroup": libc.CLONE_NEWCGROUP,
}

_READ_ONLY: Final = libc.MOUNT_ATTR_RDONLY | libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NODEV
# Where the new root is put together before it becomes the root: a folder that every machine has.
_SCAFFOLD: Final = "/proc"
_CLOSED: Final = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC


def clone_flags(without: tuple[str, ...]) -> int:
    """The clone3 flags of a worker: a child of the zygote's parent, in every namespace not left out."""
    flags = libc.CLONE_PARENT
    for name, flag in NAMESPACES.items():
        if name not in without:
            flags |= flag
    return flags


def map_ids(pid: int, *, uid: int, gid: int) -> None:
    """Makes id 0 inside `pid`'s user namespace be `uid` and `gid` outside, and every other id nobody."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def take_tree(source: int | str, user_namespace: int | None = None, *, attributes: int = _READ_ONLY) -> int:
    """A detached mount of `source` (read-only, nosuid, nodev unless told otherwise), owners mapped where the file
    system can."""
    tree = libc.open_tree(source)
    try:
        if user_namespace is None or not _map_owners(tree, user_namespace, attributes):
            libc.set_mount(tree, attributes=attributes)
    except OSError:
        os.close(tree)
        raise
    return tree


def _map_owners(tree: int, user_namespace: int, attributes: int) -> bool:
    # File systems without idmapped mounts (overlayfs, most network ones) answer EINVAL; folders that
    # are open to everybody work without, others are reported as unreadable by build_root.
    try:
        libc.set_mount(tree, attributes=attributes, user_namespace=user_namespace)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def build_root(binds: tuple[Bind, ...], trees: list[int]) -> None:
    """`begin_root` and `finish_root` in one."""
    begin_root(binds, trees)
    finish_root((), [])


def begin_root(binds: tuple[Bind, ...], trees: list[int]) -> None:
    """Begins a root that holds nothing but the trees; the host's is still there.

    `trees[i]` belongs to `binds[i]` (see `plan_binds`) and is closed. Raises OSError, and PermissionError
    with what to do where a bind cannot be read by this worker.
    """
    libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE)
    size = f"size={ROOT_BYTES},nr_inodes={ROOT_INODES},mode=0755"
    libc.mount("kernos", _SCAFFOLD, kind="tmpfs", flags=_CLOSED, data=size)
    _attach(binds, trees)


def finish_root(binds: tuple[Bind, ...], trees: list[int]) -> None:
    """Adds more trees to it, as `begin_root` does, makes it read-only and leaves the host's root behind."""
    _attach(binds, trees)
    libc.mount("none", _SCAFFOLD, flags=libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY | _CLOSED)
    os.chdir(_SCAFFOLD)
    libc.pivot_root(".", ".")
    libc.unmount(".", libc.MNT_DETACH)
    os.chdir("/")


def _attach(binds: tuple[Bind, ...], trees: list[int]) -> None:
    made: set[str] = set()
    for bind, tree in zip(binds, trees, strict=True):
        place = _SCAFFOLD + bind.target
        folder = stat.S_ISDIR(os.fstat(tree).st_mode)
        _make_folder(place if folder else os.path.dirname(place), made)
        if not folder:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        libc.move_mount(tree, place)
        os.close(tree)
        if not os.access(place, os.R_OK | os.X_OK if folder else os.R_OK):
            raise PermissionError(
                errno.EACCES,
                f"{bind.source} cannot be read by the worker's own uid; run `chmod -R o+rX {bind.source}`, "
                "or run the kernel as its owner",
            )


def _make_folder(place: str, made: set[str]) -> None:
    """os.makedirs, without asking the system again for what was `made`."""
    if place == _SCAFFOLD or place in made:
        return
    try:
        os.mkdir(place, 0o755)
    except FileNotFoundError:
        _make_folder(os.path.dirname(place), made)
        os.mkdir(place, 0o755)
    except FileExistsError:
        pass
    made.add(place)

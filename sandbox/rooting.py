"""The root of a command: the host's system read-only, /proc, /dev and /tmp of its own, and what it was granted.

Built like a worker's (see `jail`), of trees that its parent took where that takes privilege. What it was granted lies
at the same place as on the host; a place below what is mounted already is there, all others are made in the skeleton.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from sandbox import jail, libc
from sandbox.limits import COMMAND_ROOT_BYTES, COMMAND_TMP_BYTES, COMMAND_TMP_INODES, ROOT_INODES
from sandbox.spec import CommandSpec, Mount

_ROOT: Final = "/proc"
_STAGE: Final = _ROOT + "/.layers"
_SUID_DEV: Final = libc.MS_NOSUID | libc.MS_NODEV
_MASKED: Final = ("cmdline", "config.gz", "kallsyms", "kcore", "key-users", "keys", "kmsg", "sched_debug", "timer_list")
"""Files of /proc about the machine, not about its processes, that tell more than a program needs."""

_ATTRIBUTES: Final = {
    "system": libc.MOUNT_ATTR_RDONLY | libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NODEV,
    "read": libc.MOUNT_ATTR_RDONLY | libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NODEV,
    "write": libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NODEV,
    "device": libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NOEXEC,
    "layer": libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NODEV,
}
_OWNED: Final = frozenset({"read", "write", "layer"})
"""Kinds in which the kernel's user's files are the command's own; the system's and devices stay everybody's."""


def kinds_of(mounts: tuple[Mount, ...]) -> tuple[str, ...]:
    """What each tree of a command is: one for each mount, and one more for its layer."""
    return tuple(kind for mount in mounts for kind in ((mount.kind, "layer") if mount.layer else (mount.kind,)))


def sources_of(mounts: tuple[Mount, ...]) -> tuple[str, ...]:
    """Where each of these trees comes from."""
    return tuple(path for mount in mounts for path in ((mount.path, mount.layer) if mount.layer else (mount.path,)))


def take_tree(kind: str, source: int | str, user_namespace: int | None = None) -> int:
    """A detached mount of `source` as `kind` says."""
    return jail.take_tree(source, user_namespace if kind in _OWNED else None, attributes=_ATTRIBUTES[kind])


def take_trees(mounts: tuple[Mount, ...]) -> list[int]:
    """All of them, where that takes no privilege: the command's own process does it."""
    return [take_tree(kind, source) for kind, source in zip(kinds_of(mounts), sources_of(mounts), strict=True)]


def build(spec: CommandSpec, trees: list[int]) -> None:
    """Makes the root and enters it; `trees` belong to `sources_of(spec.mounts)` and are closed. Raises OSError, and
    PermissionError with what to do where a grant cannot be read by the command's own uid."""
    libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE)
    size = f"size={COMMAND_ROOT_BYTES},nr_inodes={ROOT_INODES},mode=0755"
    libc.mount("kernos", _ROOT, kind="tmpfs", flags=_SUID_DEV | libc.MS_NOEXEC, data=size)
    _make_skeleton(spec)
    waiting = dict(_with_trees(spec.mounts, trees))
    for mount in [each for each in spec.mounts if each.kind in ("system", "device")]:
        _attach(waiting.pop(mount)[0], mount.path)
    _hide_machine()
    for mount in sorted(waiting, key=lambda each: each.path):
        _grant(mount, waiting[mount])
    _close_skeleton()
    os.chdir(_ROOT)
    libc.pivot_root(".", ".")
    libc.unmount(".", libc.MNT_DETACH)
    os.chdir("/")


def _with_trees(mounts: tuple[Mount, ...], trees: list[int]) -> list[tuple[Mount, list[int]]]:
    left = list(trees)
    return [(mount, [left.pop(0) for _ in range(2 if mount.layer else 1)]) for mount in mounts]


def _make_skeleton(spec: CommandSpec) -> None:
    for folder in ("dev", "etc", "proc", "run", "tmp", "var", ".layers"):
        os.mkdir(f"{_ROOT}/{folder}", 0o755)
    os.symlink("/tmp", f"{_ROOT}/var/tmp")
    tmp = f"size={COMMAND_TMP_BYTES},nr_inodes={COMMAND_TMP_INODES},mode=1777"
    libc.mount("tmp", f"{_ROOT}/tmp", kind="tmpfs", flags=_SUID_DEV, data=tmp)
    libc.mount("dev", f"{_ROOT}/dev", kind="tmpfs", flags=libc.MS_NOSUID | libc.MS_NOEXEC, data="size=64k,mode=0755")
    os.mkdir(f"{_ROOT}/dev/shm")
    libc.mount("shm", f"{_ROOT}/dev/shm", kind="tmpfs", flags=_SUID_DEV | libc.MS_NOEXEC, data=tmp)
    os.mkdir(f"{_ROOT}/dev/pts")
    terminals = "newinstance,ptmxmode=0666,mode=0620"
    libc.mount("pts", f"{_ROOT}/dev/pts", kind="devpts", flags=libc.MS_NOSUID | libc.MS_NOEXEC, data=terminals)
    libc.mount("proc", f"{_ROOT}/proc", kind="proc", flags=_SUID_DEV | libc.MS_NOEXEC)
    for place, target in spec.links:
        os.symlink(target, _ROOT + place)
    for place, text in spec.files:
        with open(_ROOT + place, "w", encoding="utf-8") as file:
            file.write(text)


def _hide_machine() -> None:
    nothing = f"{_ROOT}/dev/null"
    for name in _MASKED:
        if os.path.exists(f"{_ROOT}/proc/{name}"):
            libc.mount(nothing, f"{_ROOT}/proc/{name}", flags=libc.MS_BIND)


def _grant(mount: Mount, trees: list[int]) -> None:
    if not mount.layer:
        place = _attach(trees[0], mount.path)
        _check_usable(mount, place)
        return
    lower, layer = f"{_STAGE}/lower", f"{_STAGE}/layer"
    for tree, stage in zip(trees, (lower, layer), strict=True):
        os.mkdir(stage)
        libc.move_mount(tree, stage)
        os.close(tree)
    _check_usable(mount, lower)
    place = _make_place(mount.path, folder=True)
    # Volatile: without it the end of the command would wait until all of the disk's file system is written out.
    options = f"lowerdir={lower},upperdir={layer}/upper,workdir={layer}/work,userxattr,volatile"
    libc.mount("overlay", place, kind="overlay", flags=_SUID_DEV, data=options)
    for stage in (lower, layer):
        libc.unmount(stage, libc.MNT_DETACH)
        os.rmdir(stage)


def _attach(tree: int, path: str) -> str:
    place = _make_place(path, folder=stat.S_ISDIR(os.fstat(tree).st_mode))
    libc.move_mount(tree, place)
    os.close(tree)
    return place


def _make_place(path: str, *, folder: bool) -> str:
    place = _ROOT + path
    if not os.path.lexists(place):
        os.makedirs(place if folder else os.path.dirname(place), mode=0o755, exist_ok=True)
        if not folder:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    return place


def _check_usable(mount: Mount, place: str) -> None:
    wanted = os.R_OK | (os.X_OK if os.path.isdir(place) else 0) | (os.W_OK if mount.kind == "write" else 0)
    if not os.access(place, wanted):
        how = "u+rwX" if mount.kind == "write" else "u+rX"
        raise PermissionError(
            errno.EACCES,
            f"{mount.path} cannot be used by the command's own uid: it must be the kernel's user's "
            f"(`chmod -R {how} {mount.path}`), or everybody's",
        )


def _close_skeleton() -> None:
    os.rmdir(_STAGE)
    for place, more in ((f"{_ROOT}/dev", 0), (_ROOT, libc.MS_NODEV)):
        flags = libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NOEXEC | more
        libc.mount("none", place, flags=flags)

"""Tries every layer of the jail on this machine.

For sandbox.probe, in a process of its own that has one thread: what is tried is done to throw-away children of it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from sandbox import confine, init, jail, landlock, libc, rooting
from sandbox.errors import JailError
from sandbox.filter import build_filter, libseccomp_version
from sandbox.groups import Groups, NoGroups, make_groups
from sandbox.leaves import Leaves
from sandbox.limits import UID_BASE
from sandbox.probe import Layer
from sandbox.spec import CommandSpec, Limits
from sandbox.system import system

_WALL: Final = 0x40000000  # the throw-away children end without a signal

_USER_FIX: Final = (
    "allow user namespaces: sysctl user.max_user_namespaces=15000, kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); in a container, a seccomp profile that lets clone3 pass"
)
_NAMESPACE_FIX: Final = "boot a kernel with CONFIG_{name}_NS and raise sysctl user.max_{name}_namespaces"
_UID_FIX: Final = "optional: run the kernel as root, and every worker gets a uid of its own"
_ROOT_FIX: Final = "a container must allow mounts inside user namespaces (systemd-nspawn, or docker with --privileged)"
_LANDLOCK_FIX: Final = "Linux 5.13 or later with `lsm=...,landlock` on the kernel's command line; 6.12 for all of it"
_MEDIATION_FIX: Final = "optional: Linux 5.19 or later, with nobody else answering this process's calls"
_SECCOMP_FIX: Final = "boot a kernel with CONFIG_SECCOMP_FILTER and install libseccomp2"
_EXEC_FIX: Final = (
    "optional, for 'kernos exec': a container must show all of /proc and /dev "
    "(docker: --security-opt systempaths=unconfined)"
)
_OVERLAY_FIX: Final = "optional, for 'kernos exec --overlay': Linux 5.11 or later with CONFIG_OVERLAY_FS"
_CGROUP_FIX: Final = (
    "optional: cgroup v2 with the cpu, memory and pids controllers, and a group that is the kernel's alone: a service "
    "with Delegate=yes, or 'systemd-run --user -p Delegate=yes kernos up'"
)


def answer() -> None:
    """The throw-away process: tries, prints a JSON list of layers."""
    found = [*_namespaces(), _uid(), _root(), *_confinement(), _landlock(), _seccomp()]
    found += [_mediation(), _command(), _overlay(), _control_groups()]
    sys.stdout.buffer.write(msgspec.json.encode(found))


def _layer(name: str, problem: str, *, detail: str, fix: str, needed: bool = True) -> Layer:
    return Layer(name, not problem, problem or detail, fix if problem else "", needed)


def _try(flags: int, action: Callable[[], object], *, uid: int | None = None) -> str:
    """Runs an action in a child with these namespaces; why it did not work, or nothing."""
    reading, writing = os.pipe()
    going, go = os.pipe()
    try:
        pid = libc.clone(flags)
    except OSError as error:
        return _close(reading, writing, going, go) or str(error)
    if pid == 0:
        os.close(go)
        os.read(going, 1)
        _act(action, writing)
    os.close(writing)
    problem = ""
    try:
        if flags & libc.CLONE_NEWUSER:
            jail.map_ids(pid, uid=os.geteuid() if uid is None else uid, gid=os.getegid() if uid is None else uid)
    except OSError as error:
        problem = str(error)
    os.close(go)
    problem = problem or os.read(reading, 4096).decode()
    _, status = os.waitpid(pid, _WALL)
    _close(reading, going)
    return problem or ("" if status == 0 else f"ended with status {status}")


def _act(action: Callable[[], object], writing: int) -> None:
    try:
        action()
    except BaseException as error:
        os.write(writing, str(error).encode()[:4096] or b"failed")
        os._exit(1)
    os._exit(0)


def _close(*fds: int) -> str:
    for fd in fds:
        os.close(fd)
    return ""


def _namespaces() -> list[Layer]:
    found = []
    for name, flag in jail.NAMESPACES.items():
        problem = _try(libc.CLONE_NEWUSER | flag, lambda: None)
        fix = _USER_FIX if name == "user" else _NAMESPACE_FIX.format(name=name)
        found.append(_layer(name, problem, detail=f"its own {name} namespace", fix=fix))
    return found


def _uid() -> Layer:
    if os.geteuid() != 0:
        detail = f"workers run as the kernel's uid {os.geteuid()}"
        return Layer("uid", False, detail, _UID_FIX, needed=False)
    problem = _try(libc.CLONE_NEWUSER, confine.take_identity, uid=UID_BASE + os.getpid())
    return _layer(
        "uid", problem, detail="a uid of its own for every worker", fix="choose a uid_base that is mapped here"
    )


def _root() -> Layer:
    def enter() -> None:
        confine.take_identity()
        jail.build_root((), [])
        if os.listdir("/"):
            raise OSError(errno.EBUSY, "the new root is not empty")

    problem = _try(libc.CLONE_NEWUSER | libc.CLONE_NEWNS, enter)
    return _layer("root", problem, detail="an empty read-only root by pivot_root", fix=_ROOT_FIX)


def _confinement() -> list[Layer]:
    steps: tuple[tuple[str, Callable[[], None], str], ...] = (
        ("capabilities", confine.drop_capabilities, "none left, the bounding set included"),
        ("privileges", confine.forbid_privileges, "no_new_privs"),
        ("limits", lambda: confine.set_limits(Limits()), "processor time, memory, descriptors, threads"),
        ("death", confine.die_with_parent, "workers die with the kernel"),
    )
    fix = "these are in every Linux: report this as a bug"
    return [_layer(name, _try(libc.CLONE_NEWUSER, step), detail=detail, fix=fix) for name, step, detail in steps]


def _landlock() -> Layer:
    abi = landlock.abi_version()
    if abi == 0:
        return Layer("landlock", False, "not active on this system", _LANDLOCK_FIX)
    covered = ("files", *(("TCP",) if abi >= 4 else ()), *(("signals", "abstract sockets") if abi >= 6 else ()))

    def restrict() -> None:
        confine.forbid_privileges()
        landlock.restrict(readable=(), listable=())

    return _layer("landlock", _try(0, restrict), detail=f"ABI {abi}: {', '.join(covered)}", fix=_LANDLOCK_FIX)


def _seccomp() -> Layer:
    try:
        program = build_filter("pure")
        version = libseccomp_version()
    except JailError as error:
        return Layer("seccomp", False, error.reason, _SECCOMP_FIX)

    def restrict() -> None:
        confine.forbid_privileges()
        confine.restrict_calls(program)

    return _layer("seccomp", _try(0, restrict), detail=f"libseccomp {version}", fix=_SECCOMP_FIX)


def _mediation() -> Layer:
    """The tier `files`: calls that wait for a supervisor, whose answer only a signal that kills cuts short."""

    def restrict() -> None:
        confine.forbid_privileges()
        confine.restrict_and_listen(build_filter("files"))

    problem = _try(0, restrict)
    detail = "plain files and sockets by rights (run --tier files)"
    return _layer("mediation", problem, detail=detail, fix=_MEDIATION_FIX, needed=False)


def _command() -> Layer:
    """The root of an executable: mounts of the system, and a /proc and terminals of its own."""
    host = system()

    def enter() -> None:
        confine.take_identity()
        spec = CommandSpec(
            path="/bin/true", argv=("true",), env={}, cwd="/", mounts=host.mounts, links=host.links, files=host.files
        )
        rooting.build(spec, rooting.take_trees(spec.mounts))
        init.Opened((24, 80))

    flags = libc.CLONE_NEWUSER | libc.CLONE_NEWNS | libc.CLONE_NEWPID | libc.CLONE_NEWNET
    problem = _try(flags, enter)
    return _layer("exec", problem, detail="a root, a /proc and a loopback for executables", fix=_EXEC_FIX, needed=False)


def _overlay() -> Layer:
    def mount() -> None:
        confine.take_identity()
        libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE)
        libc.mount("kernos", "/proc", kind="tmpfs")
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(f"/proc/{name}")
        options = "lowerdir=/proc/lower,upperdir=/proc/upper,workdir=/proc/work,userxattr"
        libc.mount("overlay", "/proc/merged", kind="overlay", data=options)

    problem = _try(libc.CLONE_NEWUSER | libc.CLONE_NEWNS, mount)
    return _layer("overlay", problem, detail="changes kept apart (exec --overlay)", fix=_OVERLAY_FIX, needed=False)


def _control_groups() -> Layer:
    """Tried from where this process is: a kernel that is started elsewhere may find itself in another group."""
    less = (
        "rlimits bound each worker alone, and one that spins is put into the idle class (SCHED_IDLE), which gives way "
        "to all others"
    )
    try:
        groups = make_groups()
    except NoGroups as none:
        return Layer("cgroup-v2", False, f"not used ({none}): {less}", _CGROUP_FIX, needed=False)
    try:
        problem = _born_into(groups)
    finally:
        groups.close()
    if problem:
        return Layer("cgroup-v2", False, f"not used ({problem}): {less}", _CGROUP_FIX, needed=False)
    used = ", ".join(sorted(groups.controllers))
    if groups.lacking:
        told = f"a group for each worker, bounded by {used}; " if used else "not used: "
        return Layer("cgroup-v2", False, f"{told}{groups.lacking}; {less}", _CGROUP_FIX, needed=False)
    return Layer("cgroup-v2", True, f"a group for each worker, bounded by {used}", "", needed=False)


def _born_into(groups: Groups) -> str:
    """Whether a child can be born into a group; why not, or nothing."""
    folder = groups.open()
    leaves = Leaves(folder)
    try:
        leaves.try_one()
    except OSError as error:
        return str(error)
    finally:
        os.close(folder)
    return ""

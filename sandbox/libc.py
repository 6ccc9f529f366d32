"""The system calls that Python does not have, by ctypes.

Everything here raises OSError with the call's name. `PyDLL` keeps the interpreter lock: a forked child
must find it held by the thread that forked.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

_libc: Final = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)

_EINVAL: Final = 22

# From 424 on a system call has one number on every architecture.
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_CLONE3: Final = 435
_SYS_CLOSE_RANGE: Final = 436
_SYS_MOUNT_SETATTR: Final = 442
_SYS_SECCOMP: Final = {"x86_64": 317, "aarch64": 277, "riscv64": 277}
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_NEW_LISTENER: Final = 1 << 3
_SECCOMP_WAIT_KILLABLE: Final = 1 << 5
_SYS_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41, "riscv64": 41}

CLONE_NEWNS: Final = 0x00020000
CLONE_PARENT: Final = 0x00008000
CLONE_CHILD_CLEARTID: Final = 0x00200000
CLONE_CHILD_SETTID: Final = 0x01000000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
CLONE_INTO_CGROUP: Final = 0x200000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
OPEN_TREE_CLONE: Final = 1
MOVE_MOUNT_F_EMPTY_PATH: Final = 4
MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR_IDMAP: Final = 0x00100000

PR_SET_PDEATHSIG: Final = 1
PR_GET_PDEATHSIG: Final = 2
PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_SET_SECUREBITS: Final = 28
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_TID_ADDRESS: Final = 40
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
SECCOMP_MODE_FILTER: Final = 2


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
            "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


class _SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def checked(result: int, call: str) -> int:
    """`result`, or OSError with the errno of the call that gave a negative one."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
    return result


def syscall(call: str, number: int, *args: object) -> int:
    """A raw system call; integers are passed as longs. Raises OSError naming `call`."""
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    return checked(int(_libc.syscall(ctypes.c_long(number), *words)), call)


def clone(flags: int, group: int = -1) -> int:
    """fork() with namespaces: 0 in the child, its pid in the caller. Only from a single-threaded process. With `group`,
    a descriptor of a control group (version 2), the child is born there.

    The child's thread id is written where the C library keeps its own (as fork() does), or the child would
    go on with the parent's.
    """
    address = ctypes.c_uint64(0)
    prctl(PR_GET_TID_ADDRESS, ctypes.addressof(address))
    flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | (CLONE_INTO_CGROUP if group >= 0 else 0)
    args = _CloneArgs(flags=flags, child_tid=address.value, cgroup=max(group, 0))
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_libc.syscall(ctypes.c_long(_SYS_CLONE3), ctypes.byref(args), ctypes.c_long(ctypes.sizeof(args))))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    code = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(code, f"clone3: {os.strerror(code)}")
    return pid


def close_from(first: int) -> None:
    """Closes every descriptor from `first` on."""
    syscall("close_range", _SYS_CLOSE_RANGE, first, 0xFFFFFFFF, 0)


def prctl(option: int, *args: int) -> int:
    """prctl(2) with integer arguments; those not given are 0."""
    return checked(int(_libc.prctl(option, *(*args, 0, 0, 0, 0)[:4])), f"prctl {option}")


def mount(source: str, target: str, *, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [None if text is None else text.encode() for text in (kind, data)]
    result = _libc.mount(source.encode(), os.fsencode(target), encoded[0], ctypes.c_ulong(flags), encoded[1])
    checked(int(result), f"mount {target}")


def unmount(target: str, flags: int) -> None:
    """umount2(2)."""
    checked(int(_libc.umount2(os.fsencode(target), flags)), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    machine = os.uname().machine  # not platform.machine(): it keeps the host's name, which guests would find
    number = _SYS_PIVOT_ROOT.get(machine)
    if number is None:
        raise OSError(38, f"pivot_root: no number known for {machine}")
    syscall("pivot_root", number, ctypes.c_char_p(os.fsencode(new)), ctypes.c_char_p(os.fsencode(old)))


def open_tree(source: int | str) -> int:
    """A detached copy of the mounts at and below a path or an O_PATH descriptor."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_RECURSIVE
    if isinstance(source, int):
        return syscall("open_tree", _SYS_OPEN_TREE, source, ctypes.c_char_p(b""), flags | AT_EMPTY_PATH)
    path = ctypes.c_char_p(os.fsencode(source))
    return syscall(f"open_tree {source}", _SYS_OPEN_TREE, AT_FDCWD, path, flags)


def set_mount(tree: int, *, attributes: int, user_namespace: int | None = None) -> None:
    """mount_setattr(2) on a detached mount and all below; with a user namespace, maps owners by it."""
    idmap = 0 if user_namespace is None else MOUNT_ATTR_IDMAP
    attr = _MountAttr(attr_set=attributes | idmap, userns_fd=user_namespace or 0)
    flags = AT_EMPTY_PATH | AT_RECURSIVE
    size = ctypes.sizeof(attr)
    syscall("mount_setattr", _SYS_MOUNT_SETATTR, tree, ctypes.c_char_p(b""), flags, ctypes.byref(attr), size)


def move_mount(tree: int, target: str) -> None:
    """Attaches a detached mount at `target`."""
    path = ctypes.c_char_p(os.fsencode(target))
    empty = ctypes.c_char_p(b"")
    syscall(f"move_mount {target}", _SYS_MOVE_MOUNT, tree, empty, AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH)


def set_hostname(name: bytes) -> None:
    """sethostname(2)."""
    checked(int(_libc.sethostname(name, ctypes.c_size_t(len(name)))), "sethostname")


def drop_bounding_set() -> None:
    """PR_CAPBSET_DROP of every capability that this system knows. Forty calls, so they are made without ceremony."""
    call, nothing = _libc.prctl, 0
    for capability in range(64):
        if call(PR_CAPBSET_DROP, capability, nothing, nothing, nothing) < 0:
            if ctypes.get_errno() != _EINVAL:
                checked(-1, f"prctl {PR_CAPBSET_DROP}")
            break


def drop_all_capabilities() -> None:
    """capset(2) to nothing: effective, permitted, inheritable."""
    header = _CapHeader(version=0x20080522, pid=0)
    checked(int(_libc.capset(ctypes.byref(header), ctypes.byref((_CapData * 2)()))), "capset")


def set_filter_listening(program: bytes) -> int:
    """As `set_filter`, and gives the descriptor on which calls that it notifies of are answered. Once such a call has
    been received only a signal that kills ends its wait: it would be made twice otherwise."""
    number = _SYS_SECCOMP.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"seccomp: no number known for {os.uname().machine}")
    fprog = _SockFprog(length=len(program) // 8, filter=program)
    flags = _SECCOMP_NEW_LISTENER | _SECCOMP_WAIT_KILLABLE
    return syscall("seccomp", number, _SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(fprog))


def set_filter(program: bytes) -> None:
    """Loads a seccomp program (an array of sock_filter); needs no_new_privs or CAP_SYS_ADMIN."""
    fprog = _SockFprog(length=len(program) // 8, filter=program)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(fprog))

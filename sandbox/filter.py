"""The system-call filter: an allow-list per tier, built in the kernel's process and shipped as bytes.

An allow-list, because libseccomp knows only the calls of its day and everything newer must be refused.
What is not listed gets EPERM and not a signal, so that a program can print its traceback; clone3 gets
ENOSYS, so that the C library falls back to clone, whose flags a filter can read. A call of a foreign
architecture (i386 or x32 entry) kills the process. Pointers are never judged here: where a path or an
address matters, mounts, Landlock and the network namespace decide.

In the tier `files` no call that takes a path or an address is let through at all: each stops and waits for the answer
of a supervisor, which reads the argument once, from memory that the program may change meanwhile, and does by itself
what it allows. Descriptors of folders that it hands in lie outside the jail, so nothing here may walk from one.
"""

from __future__ import annotations

import ctypes
import errno
import os
from types import ModuleType
from typing import Any, Final

from sandbox import calls
from sandbox.errors import JailError
from sandbox.spec import Tier

_MEMORY: Final = ("brk", "mmap", "munmap", "mremap", "mprotect", "madvise")
_CLOCKS: Final = (
    "clock_gettime", "clock_getres", "gettimeofday", "time", "times",
    "nanosleep", "clock_nanosleep", "timerfd_create", "timerfd_settime", "timerfd_gettime",
)  # fmt: skip
_IDENTITY: Final = (
    "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups",
    "getpgid", "getpgrp", "getsid", "uname", "sysinfo", "getrusage", "getrlimit", "getrandom", "umask",
    "sched_getaffinity", "sched_yield", "getcpu",
)  # fmt: skip
_OWN_SIGNALS: Final = (
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend",
    "sigaltstack", "restart_syscall", "pause",
)  # fmt: skip
_DESCRIPTORS: Final = (
    "read", "readv", "pread64", "preadv", "write", "writev", "lseek", "close", "close_range", "dup", "dup2", "dup3",
)  # fmt: skip
_FILES: Final = (
    "open", "openat", "stat", "fstat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2",
    "readlink", "readlinkat", "getdents", "getdents64", "getcwd", "chdir", "fchdir", "statfs", "fstatfs",
    "fadvise64",
)  # fmt: skip
# What stops and is answered by the supervisor in the tier `files`, in place of what stands in _FILES.
_MEDIATED: Final = (
    "open", "openat", "creat", "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2",
    "readlink", "readlinkat", "getcwd", "chdir", "fchdir", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat",
    "rename", "renameat", "renameat2", "truncate", "chmod", "fchmodat", "utimensat", "connect",
)  # fmt: skip
_ATTRIBUTES: Final = (
    "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr", "setxattr", "lsetxattr", "fsetxattr",
)  # fmt: skip
# What nobody mediates. "Not supported" tells a program that no right would help.
_NOT_MEDIATED: Final = ("link", "linkat", "symlink", "symlinkat", "flock", "bind", "listen")
_LOCK_COMMANDS: Final = (5, 6, 7, 36, 37, 38)  # F_GETLK, F_SETLK, F_SETLKW, and the same of open file descriptions
_NOT_STREAMS: Final = (2, 3, 5)  # SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET
_OF_OPEN_FILES: Final = (
    "fstat", "getdents", "getdents64", "fstatfs", "fadvise64", "ftruncate", "fsync", "fdatasync", "pwrite64",
    "pwritev", "sendfile",
)  # fmt: skip
_SOCKETS: Final = ("recvfrom", "recvmsg", "shutdown", "getsockname", "getpeername")
_LOOPS: Final = (
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
    "select", "pselect6", "eventfd", "eventfd2", "pipe", "pipe2",
)  # fmt: skip
_THREAD: Final = ("futex", "set_robust_list", "get_robust_list", "rseq", "exit", "exit_group")

_ALLOWED: Final = (
    *_MEMORY, *_CLOCKS, *_IDENTITY, *_OWN_SIGNALS, *_DESCRIPTORS, *_SOCKETS, *_LOOPS, *_THREAD,
)  # fmt: skip

# The system tries every call number on a filter that is loaded; a list of tests would take it far longer.
_BINARY_TREE: Final = 2

_FCNTL_COMMANDS: Final = (0, 1, 2, 3, 4, 1030)  # DUPFD, GETFD, SETFD, GETFL, SETFL, DUPFD_CLOEXEC
# TCGETS and TIOCGWINSZ (is this a terminal?), FIONREAD, FIONBIO, FIOCLEX, FIONCLEX
_IOCTL_COMMANDS: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5451, 0x5450)
_IOCTL_TYPE: Final = 8  # the bit at which a request's type begins, which has eight
_PR_SET_NAME: Final = 15
_AF_UNIX: Final = 1
_AF_INET: Final = (2, 10)
_SOCK_STREAM: Final = 1
_TCP: Final = (0, 6)  # by default and by name; not MPTCP, which goes round rules for TCP
_OWN_OPTIONS: Final = (2, 9)  # SO_REUSEADDR, SO_KEEPALIVE
# Sending with it connects, to an address that no filter sees: a socket of the host's whose connection failed would go
# anywhere.
_MSG_FASTOPEN: Final = 0x20000000
_SOCK_TYPE_MASK: Final = 0xF
_SOL_SOCKET: Final = 1
_IPPROTO_TCP: Final = 6
_TCP_NODELAY: Final = 1
_BUFFER_OPTIONS: Final = (7, 8)  # SO_SNDBUF, SO_RCVBUF: trio trims its wake-up pair
# SO_TYPE, SO_ERROR, the buffers, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN; not SO_PEERPIDFD, a handle on the kernel.
_SOCKET_QUESTIONS: Final = (3, 4, 7, 8, 30, 38, 39)
_CLONE_THREAD: Final = 0x00010000
# Every flag that makes a namespace; clone takes them beside CLONE_THREAD only to refuse them, so do we.
_CLONE_NAMESPACES: Final = 0x7E020080
_GUEST_PID: Final = 1  # in its own pid namespace, always


def _new_filter(seccomp: ModuleType, default: int) -> Any:
    """A filter with nothing in it but what happens to calls that no rule names."""
    building = seccomp.SyscallFilter(default)
    building.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    building.set_attr(seccomp.Attr.CTL_OPTIMIZE, _BINARY_TREE)
    return building


def build_filter(tier: Tier) -> bytes:
    """The seccomp program of `tier`, an array of sock_filter. Takes about 50 ms the first time.

    Raises JailError at layer `seccomp` where the system's libseccomp is absent.
    """
    seccomp = _load_pyseccomp()
    if tier == "command":
        return _command_filter(seccomp)
    building = _new_filter(seccomp, seccomp.ERRNO(errno.EPERM))
    for call in _ALLOWED:
        _rule(seccomp, building, seccomp.ALLOW, call)
    _allow_with_arguments(seccomp, building)
    _rule(seccomp, building, seccomp.ERRNO(errno.ENOSYS), "clone3")
    if tier == "files":
        _mediate(seccomp, building)
    else:
        for call in _FILES:
            _rule(seccomp, building, seccomp.ALLOW, call)
    if tier in ("threads", "files"):
        one_more_thread = (seccomp.MASKED_EQ, _CLONE_THREAD | _CLONE_NAMESPACES, _CLONE_THREAD)
        _rule(seccomp, building, seccomp.ALLOW, "clone", (0, *one_more_thread))
    if tier in ("door", "files"):  # of a listening socket that it was given: it cannot make one
        _rule(seccomp, building, seccomp.ALLOW, "accept4")
    if tier == "door":
        _rule(
            seccomp, building, seccomp.ALLOW, "setsockopt", (1, seccomp.EQ, _IPPROTO_TCP), (2, seccomp.EQ, _TCP_NODELAY)
        )
    return _export(building)


def _command_filter(seccomp: ModuleType) -> bytes:
    """For executables in any language: what `sandbox.calls` lists. What it does not is unknown to them (ENOSYS), so
    that they fall back; what it refuses by name is EPERM, or EOPNOTSUPP where the C library has a way of its own."""
    building = _new_filter(seccomp, seccomp.ERRNO(errno.ENOSYS))
    for call in calls.ALLOWED:
        _rule(seccomp, building, seccomp.ALLOW, call)
    for call in calls.NOT_SUPPORTED:
        _rule(seccomp, building, seccomp.ERRNO(errno.EOPNOTSUPP), call)
    for call in calls.REFUSED:
        _rule(seccomp, building, seccomp.ERRNO(errno.EPERM), call)
    reserving = calls.RESERVING << _IOCTL_TYPE
    for bit in range(_IOCTL_TYPE, _IOCTL_TYPE + 8):  # a filter knows no "unequal" of parts: one bit at least is another
        other = ~reserving & (1 << bit)
        _rule(seccomp, building, seccomp.ALLOW, "ioctl", (1, seccomp.MASKED_EQ, 1 << bit, other))
    _rule(
        seccomp, building, seccomp.ERRNO(errno.ENOTTY), "ioctl", (1, seccomp.MASKED_EQ, 0xFF << _IOCTL_TYPE, reserving)
    )
    refuse = seccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in calls.SOCKET_FAMILIES:
        _rule(seccomp, building, seccomp.ALLOW, "socket", (0, seccomp.EQ, family))
    _rule(seccomp, building, seccomp.ALLOW, "socket", (0, seccomp.EQ, calls.NETLINK), (2, seccomp.EQ, calls.ROUTE))
    _rule(seccomp, building, refuse, "socket", (0, seccomp.EQ, _AF_UNIX))
    for kind in calls.PAIRS:
        pair = (0, seccomp.EQ, _AF_UNIX), (1, seccomp.MASKED_EQ, _SOCK_TYPE_MASK, kind)
        _rule(seccomp, building, seccomp.ALLOW, "socketpair", *pair)
    _rule(seccomp, building, seccomp.ALLOW, "clone", (0, seccomp.MASKED_EQ, _CLONE_NAMESPACES, 0))
    for value in calls.PERSONALITIES:
        _rule(seccomp, building, seccomp.ALLOW, "personality", (0, seccomp.EQ, value))
    return _export(building)


def libseccomp_version() -> str:
    """The version of the system's libseccomp. Raises JailError where it is absent."""
    _load_pyseccomp()
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
    return ".".join(str(part) for part in library.seccomp_version().contents)


def _load_pyseccomp() -> ModuleType:
    try:
        import pyseccomp  # here, because it costs 25 to 70 ms and no worker may pay them
    except (ImportError, RuntimeError, OSError) as error:
        raise JailError(
            "seccomp",
            "the system library libseccomp.so.2 is missing; install it (Debian, Ubuntu: apt install libseccomp2)",
        ) from error
    return pyseccomp  # type: ignore[no-any-return]


def _allow_with_arguments(seccomp: ModuleType, building: Any) -> None:
    equal, masked = seccomp.EQ, seccomp.MASKED_EQ
    allow = seccomp.ALLOW
    for command in _FCNTL_COMMANDS:
        _rule(seccomp, building, allow, "fcntl", (1, equal, command))
    for command in _IOCTL_COMMANDS:
        _rule(seccomp, building, allow, "ioctl", (1, equal, command))
    for option in _BUFFER_OPTIONS:
        _rule(seccomp, building, allow, "setsockopt", (1, equal, _SOL_SOCKET), (2, equal, option))
    for option in _SOCKET_QUESTIONS:
        _rule(seccomp, building, allow, "getsockopt", (1, equal, _SOL_SOCKET), (2, equal, option))
    # A datagram pair could be turned on any socket of the machine; a stream pair only talks to itself.
    _rule(seccomp, building, allow, "socketpair", (0, equal, _AF_UNIX), (1, masked, _SOCK_TYPE_MASK, _SOCK_STREAM))
    _rule(seccomp, building, allow, "sendto", (3, masked, _MSG_FASTOPEN, 0), (4, equal, 0))
    _rule(seccomp, building, allow, "sendmsg", (2, masked, _MSG_FASTOPEN, 0))
    _rule(seccomp, building, allow, "prctl", (0, equal, _PR_SET_NAME))
    _rule(seccomp, building, allow, "tgkill", (0, equal, _GUEST_PID))  # abort() and raise()
    _rule(seccomp, building, allow, "prlimit64", (0, equal, 0), (2, equal, 0))  # reading its own


def _mediate(seccomp: ModuleType, building: Any) -> None:
    for call in _MEDIATED:
        _rule(seccomp, building, seccomp.NOTIFY, call)
    for call in _OF_OPEN_FILES:
        _rule(seccomp, building, seccomp.ALLOW, call)
    not_supported = seccomp.ERRNO(errno.EOPNOTSUPP)
    for call in (*_ATTRIBUTES, *_NOT_MEDIATED):  # what copies files takes this for a file system that has none
        _rule(seccomp, building, not_supported, call)
    for command in _LOCK_COMMANDS:
        _rule(seccomp, building, not_supported, "fcntl", (1, seccomp.EQ, command))
    for kind in _NOT_STREAMS:
        other = (1, seccomp.MASKED_EQ, _SOCK_TYPE_MASK, kind)
        _rule(seccomp, building, seccomp.ERRNO(errno.EPROTONOSUPPORT), "socket", other)
    _rule(seccomp, building, seccomp.ERRNO(errno.ENOSYS), "openat2")
    equal, masked = seccomp.EQ, seccomp.MASKED_EQ
    stream = (1, masked, _SOCK_TYPE_MASK, _SOCK_STREAM)
    for family in _AF_INET:
        for protocol in _TCP:
            _rule(seccomp, building, seccomp.ALLOW, "socket", (0, equal, family), stream, (2, equal, protocol))
    _rule(seccomp, building, seccomp.ALLOW, "socket", (0, equal, _AF_UNIX), stream, (2, equal, 0))
    for option in _OWN_OPTIONS:
        _rule(seccomp, building, seccomp.ALLOW, "setsockopt", (1, equal, _SOL_SOCKET), (2, equal, option))
    for call in ("setsockopt", "getsockopt"):
        _rule(seccomp, building, seccomp.ALLOW, call, (1, equal, _IPPROTO_TCP), (2, equal, _TCP_NODELAY))


def _rule(seccomp: ModuleType, building: Any, action: int, call: str, *arguments: tuple[int, ...]) -> None:
    """Adds a rule for `call` where this architecture has it. Raises JailError where libseccomp does not know it."""
    number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, call)
    if number == -1:
        raise JailError("seccomp", f"libseccomp does not know the system call {call}; install a newer libseccomp2")
    if number < 0:
        return  # it exists, on other architectures only
    building.add_rule(action, number, *(seccomp.Arg(*argument) for argument in arguments))


def _export(building: Any) -> bytes:
    """The program as an array of sock_filter."""
    with os.fdopen(os.memfd_create("kernos-filter", os.MFD_CLOEXEC), "r+b") as file:
        building.export_bpf(file)
        file.seek(0)
        return file.read()

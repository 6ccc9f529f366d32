"""The system-call filter, decided by a small interpreter of its own program: no process, no system.

Broken by: a call added to the list that must not be there, an argument rule that forgets a flag, another
default action, a foreign architecture that is not killed.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.errors import JailError
from sandbox.filter import build_filter
from sandbox.spec import Tier

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")

ALLOW, KILL, NOTIFY = 0x7FFF0000, 0x80000000, 0x7FC00000
NOT_SUPPORTED = 0x00050000 | errno.EOPNOTSUPP
NO_TERMINAL = 0x00050000 | errno.ENOTTY
NO_PROTOCOL = 0x00050000 | errno.EPROTONOSUPPORT
REFUSED, UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
X86_64, I386 = 0xC000003E, 0x40000003
CLONE, SOCKETPAIR, SENDTO, TGKILL, IOCTL, FCNTL, PRCTL, PRLIMIT64 = 56, 53, 44, 234, 16, 72, 157, 302
SETSOCKOPT, GETSOCKOPT, SOCKET, SENDMSG = 54, 55, 41, 46
FASTOPEN = 0x20000000
THREAD_FLAGS = 0x003D0F00  # what pthread_create passes
TIERS: tuple[Tier, ...] = ("pure", "threads", "files")


@cache
def _program(tier: Tier) -> tuple[tuple[int, int, int, int], ...]:
    return tuple(struct.iter_unpack("HBBI", build_filter(tier)))


def decide(tier: Tier, number: int, *arguments: int, arch: int = X86_64) -> int:
    """The action of the filter for a call: classic BPF over struct seccomp_data."""
    words = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("iIQ6Q", number, arch, 0, *(word & 0xFFFFFFFFFFFFFFFF for word in words))
    program, at, accumulator = _program(tier), 0, 0
    while True:
        code, if_true, if_false, k = program[at]
        at += 1
        match code:
            case 0x20:  # load a word
                (accumulator,) = struct.unpack_from("I", data, k)
            case 0x54:  # and
                accumulator &= k
            case 0x05:  # jump
                at += k
            case 0x15:  # jump if equal
                at += if_true if accumulator == k else if_false
            case 0x35:  # jump if greater or equal
                at += if_true if accumulator >= k else if_false
            case 0x25:  # jump if greater
                at += if_true if accumulator > k else if_false
            case 0x45:  # jump if any bit
                at += if_true if accumulator & k else if_false
            case 0x06:  # return
                return k
            case _:
                raise AssertionError(f"the interpreter lacks BPF instruction {code:#x}")


# Every number of x86-64 that a guest may use, whatever its arguments: a new one is a decision to be taken here.
ALLOWED = {
    0: "read", 1: "write", 2: "open", 3: "close", 4: "stat", 5: "fstat", 6: "lstat", 7: "poll", 8: "lseek",
    9: "mmap", 10: "mprotect", 11: "munmap", 12: "brk", 13: "rt_sigaction", 14: "rt_sigprocmask",
    15: "rt_sigreturn", 17: "pread64", 19: "readv", 20: "writev", 21: "access", 22: "pipe", 23: "select",
    24: "sched_yield", 25: "mremap", 28: "madvise", 32: "dup", 33: "dup2", 34: "pause", 35: "nanosleep",
    39: "getpid", 45: "recvfrom", 47: "recvmsg", 48: "shutdown", 51: "getsockname",
    52: "getpeername", 60: "exit", 63: "uname", 78: "getdents", 79: "getcwd", 80: "chdir",
    81: "fchdir", 89: "readlink", 95: "umask", 96: "gettimeofday", 97: "getrlimit", 98: "getrusage",
    99: "sysinfo", 100: "times", 102: "getuid", 104: "getgid", 107: "geteuid", 108: "getegid", 110: "getppid",
    111: "getpgrp", 115: "getgroups", 118: "getresuid", 120: "getresgid", 121: "getpgid", 124: "getsid",
    127: "rt_sigpending", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 131: "sigaltstack", 137: "statfs",
    138: "fstatfs", 186: "gettid", 201: "time", 202: "futex", 204: "sched_getaffinity", 213: "epoll_create",
    217: "getdents64", 219: "restart_syscall", 221: "fadvise64", 228: "clock_gettime", 229: "clock_getres",
    230: "clock_nanosleep", 231: "exit_group", 232: "epoll_wait", 233: "epoll_ctl", 257: "openat",
    262: "newfstatat", 267: "readlinkat", 269: "faccessat", 270: "pselect6", 271: "ppoll", 273: "set_robust_list",
    274: "get_robust_list", 281: "epoll_pwait", 283: "timerfd_create", 284: "eventfd", 286: "timerfd_settime",
    287: "timerfd_gettime", 290: "eventfd2", 291: "epoll_create1", 292: "dup3", 293: "pipe2", 295: "preadv",
    309: "getcpu", 318: "getrandom", 332: "statx", 334: "rseq", 436: "close_range", 439: "faccessat2",
    441: "epoll_pwait2",
}  # fmt: skip
# In the tier `files`: what stops and is answered, what is let through besides, and what the others have and it has not.
MEDIATED = {
    2: "open", 4: "stat", 6: "lstat", 21: "access", 42: "connect", 76: "truncate", 79: "getcwd", 80: "chdir",
    81: "fchdir", 82: "rename", 83: "mkdir", 84: "rmdir", 85: "creat", 87: "unlink", 89: "readlink", 90: "chmod",
    257: "openat", 258: "mkdirat", 262: "newfstatat", 263: "unlinkat", 264: "renameat", 267: "readlinkat",
    268: "fchmodat", 269: "faccessat", 280: "utimensat", 316: "renameat2", 332: "statx", 439: "faccessat2",
}  # fmt: skip
OF_OPEN_FILES = {
    18: "pwrite64", 40: "sendfile", 74: "fsync", 75: "fdatasync", 77: "ftruncate", 288: "accept4", 296: "pwritev",
}  # fmt: skip
TAKE_A_PATH = {137: "statfs"}
NOT_MEDIATED = {49: "bind", 50: "listen", 73: "flock", 86: "link", 88: "symlink", 265: "linkat", 266: "symlinkat"}
ATTRIBUTES = {188, 189, 190, 191, 192, 193, 194, 195, 196}
BY_ARGUMENTS = {CLONE, SOCKETPAIR, SENDTO, SENDMSG, TGKILL, IOCTL, FCNTL, PRCTL, PRLIMIT64, SETSOCKOPT, GETSOCKOPT}
CLONE3, OPENAT2 = 435, 437


def expected(tier: Tier, number: int) -> int:
    """What becomes of a call, whatever its arguments."""
    if tier == "files":
        if number in MEDIATED:
            return NOTIFY
        if number in ATTRIBUTES or number in NOT_MEDIATED:
            return NOT_SUPPORTED
        if number == OPENAT2:
            return UNKNOWN
        if number in OF_OPEN_FILES:
            return ALLOW
        if number in TAKE_A_PATH:
            return REFUSED
    return UNKNOWN if number == CLONE3 else ALLOW if number in ALLOWED else REFUSED


@pytest.mark.parametrize("tier", TIERS)
def test_exactly_the_listed_calls_are_let_through(tier: Tier) -> None:
    for number in set(range(600)) - BY_ARGUMENTS:
        assert decide(tier, number, *([0xFFFFFFFFFFFFFFFF] * 6)) == expected(tier, number), number


@given(st.sampled_from([*MEDIATED, *TAKE_A_PATH]), st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_no_call_that_takes_a_path_or_an_address_goes_through_unanswered(number: int, arguments: list[int]) -> None:
    assert decide("files", number, *arguments) in (NOTIFY, REFUSED)


@pytest.mark.parametrize("tier", TIERS)
def test_sending_never_connects(tier: Tier) -> None:
    assert decide(tier, SENDMSG, 3, 0, 0) == decide(tier, SENDMSG, 3, 0, 0x4000) == ALLOW
    assert decide(tier, SENDMSG, 3, 0, FASTOPEN) == decide(tier, SENDMSG, 3, 0, FASTOPEN | 0x4000) == REFUSED
    assert decide(tier, SENDTO, 3, 0, 0, FASTOPEN, 0) == REFUSED


@pytest.mark.parametrize(("family", "kind", "protocol"), [(2, 1, 0), (2, 1, 6), (10, 0x80801, 6), (1, 0x80801, 0)])
def test_streams_can_be_made_where_they_lead_nowhere_until_they_are_connected(
    family: int, kind: int, protocol: int
) -> None:
    assert decide("files", SOCKET, family, kind, protocol) == ALLOW
    assert decide("threads", SOCKET, family, kind, protocol) == REFUSED


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [(2, 2, 0), (2, 3, 1), (2, 1, 262), (10, 1, 262), (1, 2, 0), (16, 3, 0), (17, 3, 0), (40, 1, 0)],
)
def test_no_other_sockets(family: int, kind: int, protocol: int) -> None:
    assert decide("files", SOCKET, family, kind, protocol) == (REFUSED if kind == 1 else NO_PROTOCOL)
    assert decide("threads", SOCKET, family, kind, protocol) == REFUSED


@pytest.mark.parametrize("command", [5, 6, 7, 36, 37, 38])
def test_locks_are_not_supported_on_plain_files(command: int) -> None:
    assert decide("files", FCNTL, 3, command, 0) == NOT_SUPPORTED
    assert decide("threads", FCNTL, 3, command, 0) == REFUSED


@given(st.integers(0, 0x3FFFFFFF), st.lists(st.integers(0, 2**64 - 1), max_size=6), st.sampled_from(TIERS))
def test_unlisted_calls_are_refused_whatever_their_arguments(number: int, arguments: list[int], tier: Tier) -> None:
    if number not in BY_ARGUMENTS and number != SOCKET and expected(tier, number) == REFUSED:
        assert decide(tier, number, *arguments) == REFUSED


@pytest.mark.parametrize("tier", TIERS)
def test_clone3_does_not_exist_so_that_clone_is_used(tier: Tier) -> None:
    assert decide(tier, CLONE3, 1, 2) == UNKNOWN


@given(st.integers(0, 2**64 - 1))
def test_clone_makes_threads_only_and_only_in_their_tier(flags: int) -> None:
    namespaces = 0x7E020080
    wanted = flags & 0x00010000 and not flags & namespaces
    assert decide("threads", CLONE, flags) == (ALLOW if wanted else REFUSED)
    assert decide("pure", CLONE, flags) == REFUSED


def test_pthread_create_passes_in_its_tier() -> None:
    assert decide("threads", CLONE, THREAD_FLAGS) == ALLOW
    assert decide("pure", CLONE, THREAD_FLAGS) == REFUSED


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_only_unix_stream_pairs(family: int, kind: int) -> None:
    allowed = family == 1 and kind & 0xF == 1
    assert decide("pure", SOCKETPAIR, family, kind) == (ALLOW if allowed else REFUSED)
    assert decide("pure", SOCKETPAIR, 1, 1 | 0x80800) == ALLOW  # CLOEXEC, NONBLOCK
    assert decide("pure", SOCKETPAIR, 1, 2) == REFUSED


@given(st.integers(1, 2**64 - 1))
def test_nothing_is_sent_to_an_address(address: int) -> None:
    assert decide("pure", SENDTO, 3, 0, 0, 0, address) == REFUSED
    assert decide("pure", SENDTO, 3, 0, 0, 0, 0) == ALLOW


@given(st.integers(0, 2**64 - 1))
def test_signals_go_to_oneself_only(group: int) -> None:
    assert decide("pure", TGKILL, group, 1, 6) == (ALLOW if group == 1 else REFUSED)


@pytest.mark.parametrize("option", [1, 4, 22, 38, 0x59616D61, 16])
def test_prctl_names_a_thread_and_nothing_else(option: int) -> None:
    assert decide("pure", PRCTL, option) == REFUSED
    assert decide("pure", PRCTL, 15) == ALLOW


def test_limits_can_be_read_and_not_set() -> None:
    assert decide("pure", PRLIMIT64, 0, 7, 0, 1) == ALLOW
    assert decide("pure", PRLIMIT64, 0, 7, 1, 0) == REFUSED
    assert decide("pure", PRLIMIT64, 5, 7, 0, 1) == REFUSED


@pytest.mark.parametrize("command", [0x5412, 0x541C, 0x5414, 0x8912, 0x40086602])
def test_terminals_and_interfaces_are_not_controlled(command: int) -> None:
    """TIOCSTI and TIOCLINUX type into a terminal; SIOCGIFCONF lists interfaces."""
    assert decide("pure", IOCTL, 0, command) == REFUSED


@given(st.integers(0, 2**64 - 1))
@example(0x40305828)
@example(0x4030582A | 1 << 32)
@example(0x5401)
def test_an_executable_asks_for_anything_but_space_that_is_not_written(command: int) -> None:
    """FS_IOC_RESVSP, and FS_IOC_RESVSP64 as it passes where only the system's 32 bits are compared; TCGETS."""
    reserves = command >> 8 & 0xFF == ord("X")
    assert decide("command", IOCTL, 0, command) == (NO_TERMINAL if reserves else ALLOW)


@pytest.mark.parametrize("command", [5, 6, 7, 8, 10, 1024, 1031, 1033])
def test_descriptors_are_not_locked_signalled_or_sealed(command: int) -> None:
    assert decide("pure", FCNTL, 0, command) == REFUSED


@pytest.mark.parametrize("option", [26, 50, 51, 12, 16])
def test_no_filter_program_is_attached_to_a_socket(option: int) -> None:
    assert decide("pure", SETSOCKOPT, 3, 1, option) == REFUSED
    assert decide("pure", SETSOCKOPT, 3, 1, 7) == ALLOW


@pytest.mark.parametrize("option", [17, 31, 77])
def test_the_far_end_of_a_socket_is_not_asked_after(option: int) -> None:
    """SO_PEERCRED, SO_PEERSEC, and SO_PEERPIDFD, which is a handle on the kernel."""
    assert decide("pure", GETSOCKOPT, 3, 1, option) == REFUSED
    assert decide("pure", GETSOCKOPT, 3, 6, 3) == REFUSED
    assert decide("pure", GETSOCKOPT, 3, 1, 3) == ALLOW


def test_a_machine_without_libseccomp_is_told_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(JailError, match="apt install libseccomp2") as caught:
        build_filter("pure")
    assert caught.value.layer == "seccomp"


@given(st.integers(0, 600))
def test_a_foreign_architecture_is_killed(number: int) -> None:
    assert decide("pure", number, arch=I386) == KILL
    assert decide("pure", number | 0x40000000) == KILL  # x32

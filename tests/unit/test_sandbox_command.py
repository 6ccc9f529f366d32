"""The walls of an executable, without one: its filter by a small interpreter, its mounts by what they say.

Broken by: a family of sockets that is let through, a call that makes a namespace, a tier that is another's.
"""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.limits import PAYLOAD_BYTES_MAX
from sandbox.rooting import kinds_of, sources_of
from sandbox.spec import CommandSpec, Mount
from sandbox.system import TAKEN, system
from tests.unit.test_sandbox_filter import ALLOW, CLONE, CLONE3, I386, KILL, REFUSED, SOCKETPAIR, UNKNOWN, decide

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")

SOCKET, NO_FAMILY = 41, 0x00050000 | 97
REFUSED_CALLS = {
    101: "ptrace", 155: "pivot_root", 165: "mount", 166: "umount2", 161: "chroot", 272: "unshare", 308: "setns",
    310: "process_vm_readv", 311: "process_vm_writev", 312: "kcmp", 317: "seccomp", 321: "bpf", 323: "userfaultfd",
    298: "perf_event_open", 248: "add_key", 250: "keyctl", 103: "syslog", 170: "sethostname", 227: "clock_settime",
    304: "open_by_handle_at", 428: "open_tree", 429: "move_mount", 438: "pidfd_getfd", 154: "modify_ldt", 172: "iopl",
}  # fmt: skip
NEEDED_CALLS = {
    0: "read", 41: None, 42: "connect", 49: "bind", 50: "listen", 56: None, 57: "fork", 58: "vfork", 59: "execve",
    61: "wait4", 62: "kill", 87: "unlink", 202: "futex", 213: "epoll_create", 257: "openat", 319: "memfd_create",
}  # fmt: skip


@pytest.mark.parametrize("number", REFUSED_CALLS, ids=lambda number: REFUSED_CALLS[number])
def test_what_broke_such_walls_before_is_refused_by_name(number: int) -> None:
    assert decide("command", number, 1, 2, 3) == REFUSED


@pytest.mark.parametrize("number", [number for number, name in NEEDED_CALLS.items() if name])
def test_what_programs_need_is_let_through(number: int) -> None:
    assert decide("command", number, 1, 2, 3) == ALLOW


@pytest.mark.parametrize("number", [425, 426, 427, 450, 462, 599])
def test_what_is_in_no_list_is_unknown_so_that_programs_fall_back(number: int) -> None:
    """io_uring, and whatever a later system has."""
    assert decide("command", number) == UNKNOWN


@given(st.integers(0, 2**64 - 1))
def test_no_process_is_made_in_a_new_namespace(flags: int) -> None:
    assert (decide("command", CLONE, flags) == ALLOW) == (not flags & 0x7E020080)
    assert decide("command", CLONE3, flags) == UNKNOWN


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_sockets_are_of_the_own_network_and_no_other(family: int, kind: int, protocol: int) -> None:
    allowed = family in (2, 10) or (family == 16 and protocol == 0)
    assert (decide("command", SOCKET, family, kind, protocol) == ALLOW) == allowed
    assert decide("command", SOCKET, 1, kind, protocol) == NO_FAMILY


@pytest.mark.parametrize(("kind", "allowed"), [(1, True), (5, True), (2, False), (3, False)])
def test_pairs_cannot_be_turned_on_others(kind: int, allowed: bool) -> None:
    assert (decide("command", SOCKETPAIR, 1, kind | 0x80000) == ALLOW) == allowed


def test_a_foreign_architecture_is_killed() -> None:
    assert decide("command", 11, arch=I386) == KILL
    assert decide("command", 59 | 0x40000000) == KILL


def test_the_door_accepts_and_opens_no_socket() -> None:
    assert decide("door", 288) == ALLOW and decide("pure", 288) == REFUSED
    assert decide("door", SOCKET, 2, 1, 0) == REFUSED and decide("door", 42) == REFUSED


def spec(**changed: object) -> CommandSpec:
    asked: dict[str, object] = {"path": "/bin/true", "argv": ("true",), "env": {}, "cwd": "/", "mounts": ()}
    return CommandSpec(**{**asked, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        {"argv": ()},
        {"argv": ("a\0b",)},
        {"env": {"a=b": "c"}},
        {"env": {"": "c"}},
        {"argv": ("x" * PAYLOAD_BYTES_MAX,)},
        {"without": ("net",)},
        {"without": ("user",)},
    ],
)
def test_what_cannot_be_executed_is_refused(changed: dict[str, object]) -> None:
    spec()
    with pytest.raises(ValueError, match=r"argument|command|environment|layer"):
        spec(**changed)


@pytest.mark.parametrize(
    ("path", "kind", "layer"),
    [("/", "read", ""), ("a", "read", ""), ("/a/../b", "read", ""), ("/a", "read", "/l"), ("/a", "write", "/l,x=y")],
)
def test_what_cannot_be_mounted_is_refused(path: str, kind: str, layer: str) -> None:
    with pytest.raises(ValueError, match=r"mounted|layer"):
        Mount(path, kind, layer)  # type: ignore[arg-type]


def test_a_layer_has_a_tree_of_its_own_after_the_folder_s() -> None:
    mounts = (Mount("/a", "read"), Mount("/b", "write", "/l"), Mount("/c", "write"))
    assert kinds_of(mounts) == ("read", "write", "layer", "write")
    assert sources_of(mounts) == ("/a", "/b", "/l", "/c")


def test_the_system_is_read_only_and_holds_no_home_and_no_secret() -> None:
    host = system()
    assert {mount.kind for mount in host.mounts} == {"system", "device"}
    shown = [mount.path for mount in host.mounts if mount.kind == "system"]
    for secret in (
        "/etc/shadow",
        "/etc/passwd",
        "/etc/ssh",
        "/etc/ssl/private",
        "/root",
        "/home",
        "/var",
        "/run",
        *TAKEN,
    ):
        assert not any(secret == path or secret.startswith(path + "/") for path in shown)

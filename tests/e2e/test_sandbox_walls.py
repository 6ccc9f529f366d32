"""A hostile guest is refused by the system, and would not be outside: both are tried, action by action.

Every action gives a value that only success can give. Broken by: a layer that is not put up, a call or a
path that the filter, the mounts or Landlock begin to let through, a descriptor that leaks into the jail.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from sandbox.ending import Exit
from sandbox.spec import Bind
from tests.e2e.sandbox_guests.host import (
    GUESTS,
    attempt_unsandboxed,
    open_guest,
    open_zygote,
    run_to_end,
    worker_spec,
)
from tests.e2e.sandbox_guests.stage import Stage, open_stage, python_outside

EPERM, EACCES, ENOENT, EROFS, ENOSYS = errno.EPERM, errno.EACCES, errno.ENOENT, errno.EROFS, errno.ENOSYS
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000


class Attempt(NamedTuple):
    """An action, its arguments on a stage, what success shows, and the errnos that count as refused."""

    name: str
    action: str
    arguments: Callable[[Stage], dict[str, Any]]
    proof: Callable[[Stage, Any], bool]
    refused: tuple[int, ...]


def _is_nonce(stage: Stage, value: Any) -> bool:
    return bool(value == stage.nonce)


def _equals(expected: Any) -> Callable[[Stage, Any], bool]:
    return lambda stage, value: bool(value == expected)


def _nothing(stage: Stage) -> dict[str, Any]:
    return {}


def _call(name: str, number: int, *arguments: int, refused: int = EPERM) -> Attempt:
    return Attempt(
        name,
        "system_call",
        lambda stage: {"number": number, "arguments": list(arguments)},
        _equals("looked at"),
        (refused,),
    )


ATTEMPTS = (
    Attempt(
        "read /etc/passwd",
        "read_file",
        lambda stage: {"path": "/etc/passwd"},
        lambda stage, value: bool(value == Path("/etc/passwd").read_text()),
        (ENOENT, EACCES),
    ),
    Attempt("read a secret", "read_file", lambda s: {"path": str(s.secret)}, _is_nonce, (ENOENT, EACCES)),
    Attempt(
        "read a secret by ..",
        "read_file",
        lambda s: {"path": f"{s.inside}/../outside/secret"},
        _is_nonce,
        (ENOENT, EACCES),
    ),
    Attempt(
        "read a secret by a link", "read_file", lambda s: {"path": f"{s.inside}/link"}, _is_nonce, (ENOENT, EACCES)
    ),
    Attempt(
        "read a secret by /proc",
        "read_file",
        lambda s: {"path": f"/proc/{os.getpid()}/root{s.secret}"},
        _is_nonce,
        (ENOENT, EACCES),
    ),
    Attempt(
        "list the host's root",
        "list_folder",
        lambda s: {"path": "/etc"},
        lambda s, value: bool(value),
        (ENOENT, EACCES),
    ),
    Attempt(
        "read a sibling's /proc",
        "read_file",
        lambda s: {"path": f"/proc/{os.getpid()}/status"},
        lambda s, value: f"Pid:\t{os.getpid()}" in value,
        (ENOENT, EACCES),
    ),
    Attempt(
        "write beside the binds",
        "write_file",
        lambda s: {"path": f"{s.inside.parent}/new"},
        _equals("written"),
        (EROFS, EACCES),
    ),
    Attempt(
        "write into a bind", "write_file", lambda s: {"path": f"{s.inside}/mine"}, _equals("written"), (EROFS, EACCES)
    ),
    Attempt(
        "create in a bind", "write_file", lambda s: {"path": f"{s.inside}/new"}, _equals("written"), (EROFS, EACCES)
    ),
    Attempt(
        "remove from a bind", "remove_file", lambda s: {"path": f"{s.inside}/spare"}, _equals(True), (EPERM, EROFS)
    ),
    Attempt("chmod in a bind", "change_mode", lambda s: {"path": f"{s.inside}/mine"}, _equals(0o640), (EPERM, EROFS)),
    Attempt("make a temporary file", "temporary_file", _nothing, _equals("kept"), (ENOENT, EACCES, EROFS)),
    Attempt("connect to loopback", "connect_tcp", lambda s: {"port": s.tcp_port}, _is_nonce, (EPERM, EACCES)),
    Attempt(
        "send a datagram",
        "send_udp",
        lambda s: {"port": s.udp_port, "text": s.nonce},
        lambda s, value: bool(value == len(s.nonce)),
        (EPERM,),
    ),
    Attempt("connect to a socket in a bind", "connect_unix", lambda s: {"address": s.path_socket}, _is_nonce, (EPERM,)),
    Attempt(
        "connect to an abstract socket", "connect_unix", lambda s: {"address": s.abstract_socket}, _is_nonce, (EPERM,)
    ),
    Attempt("make a datagram pair", "datagram_pair", _nothing, _equals(1), (EPERM,)),
    Attempt(
        "signal the kernel (0)", "signal_process", lambda s: {"pid": os.getpid(), "number": 0}, _equals(True), (EPERM,)
    ),
    Attempt(
        "signal the kernel (USR1)",
        "signal_process",
        lambda s: {"pid": os.getpid(), "number": int(signal.SIGUSR1)},
        _equals(True),
        (EPERM,),
    ),
    Attempt("signal everybody", "signal_everybody", _nothing, _equals(True), (EPERM,)),
    Attempt("execute", "execute", lambda s: {"python": python_outside(), "text": s.nonce}, _is_nonce, (EPERM,)),
    Attempt("fork", "fork", _nothing, _equals(7), (EPERM,)),
    Attempt("start a thread", "make_thread", _nothing, _equals(42), (0, EPERM)),
    Attempt("be traced", "trace_me", _nothing, _equals(0), (EPERM,)),
    Attempt(
        "make a mount namespace", "unshare", lambda s: {"flags": CLONE_NEWUSER | CLONE_NEWNS}, _equals(0), (EPERM,)
    ),
    Attempt("change the limits", "raise_limit", _nothing, _equals(0), (0,)),
    Attempt("outlive the kernel", "outlive_parent", _nothing, _equals(0), (EPERM,)),
    Attempt("make a memory file", "memory_file", _nothing, lambda s, value: value > 2, (EPERM,)),
)

ROOT_ATTEMPTS = (
    Attempt("write to the root", "write_file", lambda s: {"path": "/kernos-test"}, _equals("written"), (EROFS, EACCES)),
    Attempt("mount", "mount_tmpfs", lambda s: {"path": str(s.inside)}, _equals(True), (EPERM,)),
    Attempt("chroot", "change_root", lambda s: {"path": str(s.inside)}, lambda s, v: "mine" in v, (EPERM,)),
    Attempt("change uid", "raise_privileges", _nothing, _equals(12345), (EPERM,)),
)

# x86-64 numbers; arguments that make a call fail soon, but later than a filter would have refused it.
X86_ATTEMPTS = (
    _call("clone3", 435, 0, 0, refused=ENOSYS),
    _call("io_uring_setup", 425, 1, 0),
    _call("userfaultfd", 323, -1),
    _call("keyctl", 250, 99),
    _call("add_key", 248, 0, 0, 0, 0, 0),
    _call("process_vm_readv", 310, 0, 0, 0, 0, 0, 99),
    _call("pidfd_open", 434, 1, 99),
    _call("setns", 308, -1, 0),
    _call("seccomp", 317, 99, 0, 0),
    _call("personality", 135, 0xFFFFFFFF),
    _call("execveat", 322, -1, 0, 0, 0, 0),
    _call("open_tree", 428, -1, 0, 0x10000000),
    _call("memfd_secret", 447, 99),
    _call("splice", 275, -1, 0, -1, 0, 1, 0),
    _call("flock", 73, -1, 8),
    _call("mq_open", 240, 0, 0, 0, 0),
    _call("shmget", 29, 0, 0, 0),
    _call("inotify_init1", 294, 0x99),
)

ALL = (
    *ATTEMPTS,
    *(ROOT_ATTEMPTS if os.geteuid() == 0 else ()),
    *(X86_ATTEMPTS if os.uname().machine == "x86_64" else ()),
)


class Results(NamedTuple):
    stage: Stage
    jailed: dict[str, dict[str, Any]]
    signals_while_jailed: int
    free: dict[str, dict[str, Any]]
    alive_after: dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """Every attempt, first by one guest in its jail, then by plain processes."""
    folder = tmp_path_factory.mktemp("stage")
    with open_stage(folder) as stage:
        jailed, alive = trio.run(_all_in_jail, stage)
        signals = stage.signals
        free = {each.name: attempt_unsandboxed(each.action, **each.arguments(stage)) for each in ALL}
        yield Results(stage, jailed, signals, free, alive)
        Path("/kernos-test").unlink(missing_ok=True)


async def _all_in_jail(stage: Stage) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    spec = worker_spec(binds=(Bind(str(stage.inside), str(stage.inside)),))
    async with open_zygote() as zygote, open_guest(zygote, spec) as guest:
        done = {each.name: await guest.attempt(each.action, **each.arguments(stage)) for each in ALL}
        return done, await guest.attempt("read_file", path=f"{stage.inside}/mine")


@pytest.mark.parametrize("attempt", ALL, ids=lambda attempt: attempt.name)
def test_the_jail_refuses(attempt: Attempt, results: Results) -> None:
    answer = results.jailed[attempt.name]
    assert "value" not in answer, f"{attempt.name} succeeded in the jail"
    assert answer["errno"] in attempt.refused, answer


@pytest.mark.parametrize("attempt", ALL, ids=lambda attempt: attempt.name)
def test_the_same_attempt_succeeds_outside(attempt: Attempt, results: Results) -> None:
    answer = results.free[attempt.name]
    assert "value" in answer, answer
    assert attempt.proof(results.stage, answer["value"]), answer


def test_the_guest_can_still_read_what_it_was_given(results: Results) -> None:
    assert results.alive_after == {"value": "mine"}


def test_no_signal_of_the_guest_arrived(results: Results) -> None:
    assert results.signals_while_jailed == 0
    assert results.stage.signals > 0  # the plain process's did


def _has_i386_entry() -> bool:
    command = [sys.executable, f"{GUESTS}/hostile.py", json.dumps({"action": "enter_i386"})]
    return os.uname().machine == "x86_64" and subprocess.run(command, capture_output=True).returncode == 0


async def test_a_foreign_architecture_kills() -> None:
    """int 0x80 enters the i386 table, whose numbers mean other calls."""
    if not _has_i386_entry():
        pytest.skip("inert here: this machine has no i386 entry")
    async with open_zygote() as zygote:
        ended, _ = await run_to_end(zygote, worker_spec("hostile:enter_i386_as_guest"))
    assert ended == Exit(signal=signal.SIGSYS)


def test_sockets_of_the_stage_answer(results: Results) -> None:
    """The stage itself works: a plain connect from here gets the nonce."""
    with socket.create_connection(("127.0.0.1", results.stage.tcp_port)) as sock:
        assert sock.recv(100).decode() == results.stage.nonce

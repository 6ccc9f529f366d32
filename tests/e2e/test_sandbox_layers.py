"""Each layer stops what it is there for, with those before it taken away.

The filter answers first and hides the others, so a layer that silently does nothing would not be noticed.
Broken by: such a layer.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.spec import Bind, Limits, WorkerSpec
from tests.e2e.sandbox_guests.host import attempt_unsandboxed, open_guest, open_zygote, worker_spec
from tests.e2e.sandbox_guests.stage import Stage, open_stage

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path) as stage:
        yield stage


def _without(stage: Stage, *layers: str, **settings: Any) -> WorkerSpec:
    return worker_spec(without=layers, binds=(Bind(str(stage.inside), str(stage.inside)),), **settings)


async def test_what_the_layers_refuse_succeeds_without_them(stage: Stage) -> None:
    """The control."""
    spec = _without(stage, "seccomp", "landlock", "net", "pid")
    async with open_zygote() as zygote, open_guest(zygote, spec) as guest:
        assert await guest.attempt("connect_tcp", port=stage.tcp_port) == {"value": stage.nonce}
        assert await guest.attempt("fork") == {"value": 7}


async def test_the_root_hides_files(stage: Stage) -> None:
    async with open_zygote() as zygote, open_guest(zygote, _without(stage, "seccomp", "landlock")) as guest:
        assert (await guest.attempt("read_file", path="/etc/passwd"))["errno"] == errno.ENOENT
        assert (await guest.attempt("read_file", path="/../etc/passwd"))[
            "errno"
        ] == errno.ENOENT  # what was pivoted from
        assert (await guest.attempt("read_file", path=f"{stage.inside}/../outside/secret"))["errno"] == errno.ENOENT
        assert (await guest.attempt("write_file", path="/new"))["errno"] == errno.EROFS
        assert (await guest.attempt("write_file", path=f"{stage.inside}/mine"))["errno"] in (errno.EROFS, errno.EACCES)
        assert (await guest.attempt("change_mode", path=f"{stage.inside}/mine"))["errno"] == errno.EROFS


def test_landlock_hides_files_by_itself(stage: Stage) -> None:
    """In a plain process of this user, with Landlock and nothing else."""
    program = """
import sys
from sandbox import confine
from sandbox.spec import Bind
from tests.e2e.sandbox_guests.hostile import attempt
inside, secret = sys.argv[1:]
confine.forbid_privileges()
confine.restrict_files((Bind(inside, inside),))
print([attempt(action, path=path).get("errno", "worked") for action, path in [
    ("read_file", f"{inside}/mine"), ("read_file", secret), ("read_file", f"{inside}/link"),
    ("write_file", f"{inside}/mine"), ("write_file", "/tmp/kernos-new"), ("remove_file", f"{inside}/spare"),
]])
"""
    command = [sys.executable, "-c", program, str(stage.inside), str(stage.secret)]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "['worked', 13, 13, 13, 13, 13]"
    assert stage.secret.read_text() == stage.nonce


async def test_landlock_refuses_tcp(stage: Stage) -> None:
    async with open_zygote() as zygote, open_guest(zygote, _without(stage, "seccomp", "net")) as guest:
        assert (await guest.attempt("connect_tcp", port=stage.tcp_port))["errno"] == errno.EACCES


async def test_landlock_scopes_abstract_sockets(stage: Stage) -> None:
    async with open_zygote() as zygote, open_guest(zygote, _without(stage, "seccomp", "net")) as guest:
        assert (await guest.attempt("connect_unix", address=stage.abstract_socket))["errno"] == errno.EPERM


async def test_landlock_scopes_signals_and_so_does_the_pid_namespace(stage: Stage) -> None:
    arguments = {"pid": os.getpid(), "number": int(signal.SIGUSR1)}
    async with open_zygote() as zygote:
        async with open_guest(zygote, _without(stage, "seccomp", "pid")) as guest:
            assert (await guest.attempt("signal_process", **arguments))["errno"] == errno.EPERM
        async with open_guest(zygote, _without(stage, "seccomp", "landlock")) as guest:
            assert (await guest.attempt("signal_process", **arguments))["errno"] == errno.ESRCH
    assert stage.signals == 0
    assert attempt_unsandboxed("signal_process", **arguments) == {"value": True}


async def test_the_network_namespace_is_empty(stage: Stage) -> None:
    unreachable = {errno.ENETUNREACH, errno.EADDRNOTAVAIL}
    async with open_zygote() as zygote, open_guest(zygote, _without(stage, "seccomp", "landlock")) as guest:
        assert (await guest.attempt("connect_tcp", port=stage.tcp_port))["errno"] in unreachable
        datagram = await guest.attempt("send_udp", port=stage.udp_port, text="x")
        assert datagram["errno"] in unreachable
        assert (await guest.attempt("connect_unix", address=stage.abstract_socket))["errno"] == errno.ECONNREFUSED


async def test_capabilities_are_gone(stage: Stage) -> None:
    async with open_zygote() as zygote, open_guest(zygote, _without(stage, "seccomp", "landlock")) as guest:
        assert (await guest.attempt("mount_tmpfs", path=str(stage.inside)))["errno"] == errno.EPERM
        assert (await guest.attempt("change_root", path=str(stage.inside)))["errno"] == errno.EPERM
        assert "value" not in await guest.attempt("raise_privileges")
    async with open_zygote() as zygote:
        spec = _without(stage, "seccomp", "landlock", "capabilities", "privileges")
        async with open_guest(zygote, spec) as guest:
            assert await guest.attempt("mount_tmpfs", path=str(stage.inside)) == {"value": True}


async def test_limits_hold(stage: Stage) -> None:
    spec = _without(stage, "seccomp", "pid", limits=Limits(processes=1, files=16))
    async with open_zygote() as zygote:
        async with open_guest(zygote, spec) as guest:
            assert (await guest.attempt("fork"))["errno"] == errno.EAGAIN
            assert await guest.attempt("open_many") == {"value": 16}
            assert (await guest.attempt("raise_limit_again"))["errno"] in (0, errno.EPERM)
        async with open_guest(zygote, _without(stage, "seccomp", "limits")) as guest:
            assert await guest.attempt("fork") == {"value": 7}


async def test_a_connection_works_from_here(stage: Stage) -> None:
    with socket.create_connection(("127.0.0.1", stage.tcp_port)) as sock:
        assert sock.recv(100).decode() == stage.nonce

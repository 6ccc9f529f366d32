"""Boot and shutdown of a real kernel: on its socket, beside others, after a crash, in the middle of things."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from syscalls.calls import clock, kernel, process
from syscalls.errors import BrokenPipe, PermissionDenied
from syscalls.link.blocking import BlockingLink
from tests.kernelproc import KernelProcess, boot_command, kernel_up, spawn, trace, until, wait

SIM = '[models.sim]\norigin = "sim:"\n'
LOOP = """
from kernos import Sys, program

@program
async def forever(sys: Sys) -> None:
    await sys.note("here")
    while True:
        await sys.sleep(0.01)

@program
async def stubborn(sys: Sys) -> None:
    await sys.note("here")
    while True:
        pass
"""


def test_it_answers_on_a_private_socket_and_leaves_nothing() -> None:
    with kernel_up(config=SIM) as up:
        assert stat.S_IMODE(up.socket.stat().st_mode) == 0o600
        with up.link() as link:
            info = link.call(kernel.INFO, kernel.Info())
            assert (info.pid, info.processes) == (up.child.pid, 0)
            assert link.call(process.SELF, process.Self()).kind == "session"
        assert up.stop() == 0
        assert not up.socket.exists()


def test_shutdown_is_a_system_call() -> None:
    with kernel_up(config=SIM) as up:
        with up.link() as link:
            link.call(kernel.SHUTDOWN, kernel.Shutdown(grace_s=0.1))
        assert up.child.wait(timeout=20) == 0


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_in_order_in_the_middle_of_anything(signum: int, tmp_path: Path) -> None:
    program = tmp_path / "loop.py"
    program.write_text(LOOP)
    with kernel_up(config=SIM + "[bounds]\ngrace_s = 0.3\n") as up:
        link = up.link()
        pids = [spawn(link, f"{program}:{name}") for name in ("forever", "stubborn", "forever")]
        workers = until(lambda: _workers(link, pids))
        sleeping = up.link()
        sleeping._start(clock.SLEEP, clock.Sleep(seconds=1000), channel=0, credit=0)
        assert up.stop(signum) == 0
        assert not any(_alive(worker) for worker in workers)
        with pytest.raises(BrokenPipe):
            link.call(clock.NOW, clock.Now())


def test_a_second_ctrl_c_does_not_wait_for_the_grace_time(tmp_path: Path) -> None:
    program = tmp_path / "loop.py"
    program.write_text(LOOP)
    with kernel_up(config=SIM + "[bounds]\ngrace_s = 900\n") as up:
        link = up.link()
        pid = spawn(link, f"{program}:stubborn")
        until(lambda: _workers(link, [pid]))
        up.child.send_signal(signal.SIGINT)
        until(lambda: _powered(up))
        assert up.stop(signal.SIGINT) == 0


def test_a_signal_while_it_boots_is_not_lost_and_not_a_crash(tmp_path: Path) -> None:
    child = subprocess.Popen(boot_command(tmp_path), stderr=subprocess.PIPE, text=True)
    until(lambda: (tmp_path / "state" / "truth.db").exists())
    child.send_signal(signal.SIGTERM)
    _, complaint = child.communicate(timeout=30)
    assert (child.returncode, complaint) == (0, "")
    assert not (tmp_path / "k.sock").exists()


def test_two_kernels_on_one_state_and_a_state_that_is_no_folder(tmp_path: Path) -> None:
    with kernel_up(config=SIM) as up:
        second = boot_command(up.folder)
        second[second.index("--socket") + 1] = str(tmp_path / "other.sock")
        refused = subprocess.run(second, capture_output=True, text=True, check=False)
        assert refused.returncode == 125
        assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    (tmp_path / "state").write_text("a file")
    refused = subprocess.run(boot_command(tmp_path), capture_output=True, text=True, check=False)
    assert refused.returncode == 125
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr


def test_workers_and_hosts_die_with_a_kernel_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "loop.py"
    program.write_text(LOOP)
    with kernel_up(config=SIM) as up:
        link = up.link()
        pids = [spawn(link, f"{program}:forever") for _ in range(3)]
        workers = until(lambda: _workers(link, pids))
        up.child.kill()
        up.child.wait()
        until(lambda: not any(_alive(worker) for worker in workers))


def test_a_dead_kernels_socket_is_taken_over_and_a_live_ones_is_not() -> None:
    with kernel_up(config=SIM) as up:
        refused = subprocess.run(
            boot_command(up.folder / "other", "--socket", str(up.socket)), capture_output=True, text=True, check=False
        )
        assert refused.returncode == 125
        assert "a kernel is answering" in refused.stderr
        assert "Traceback" not in refused.stderr
        up.child.kill()
        up.child.wait()
        assert up.socket.exists(), "a killed kernel cleans nothing up"
        with kernel_up(config=SIM, folder=up.folder) as again, again.link() as link:
            assert link.call(kernel.INFO, kernel.Info()).pid == again.child.pid


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--socket", "/tmp/" + "x" * 120], "at most 107 bytes"),
        (["--socket", "/proc/no/such"], "choose another"),
        (["--config", "/no/such.toml"], "no such file"),
    ],
)
def test_what_cannot_be_is_one_clear_line(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    refused = subprocess.run(boot_command(tmp_path, *arguments), capture_output=True, text=True, check=False)
    assert refused.returncode == 125
    assert complaint in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_unknown_keys_of_the_configuration_are_refused_by_name(tmp_path: Path) -> None:
    config = tmp_path / "kernos.toml"
    config.write_text("[bounds]\nprocesess_max = 3\n")
    refused = subprocess.run(
        boot_command(tmp_path, "--config", str(config)), capture_output=True, text=True, check=False
    )
    assert "procesess_max" in refused.stderr
    assert refused.returncode == 125


def test_a_file_at_the_socket_path_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "k.sock").write_text("precious")
    refused = subprocess.run(boot_command(tmp_path), capture_output=True, text=True, check=False)
    assert "is no socket" in refused.stderr
    assert (tmp_path / "k.sock").read_text() == "precious"


def test_strangers_frames_end_only_their_own_link() -> None:
    with kernel_up(config=SIM) as up, up.link() as link:
        for noise in (
            b"\x00\x00\x00\x05hello",
            b"\xff\xff\xff\xff",
            b"\x00\x00\x00\x02\x91\x01",
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            stranger = socket.socket(socket.AF_UNIX)
            stranger.connect(str(up.socket))
            stranger.sendall(noise)
            stranger.settimeout(10)
            while stranger.recv(65536):
                pass
            stranger.close()
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(str(up.socket))
        assert link.call(kernel.INFO, kernel.Info()).pid == up.child.pid
        silent.close()


def test_booting_loads_no_model_library() -> None:
    probe = (
        "import sys, kernel.boot;"
        "heavy = {'torch', 'transformers', 'chromadb', 'numpy', 'starlette', 'sentence_transformers'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_forged_channel_is_eperm_and_ends_the_link() -> None:
    with kernel_up(config=SIM) as up, up.link() as link:
        with pytest.raises(PermissionDenied, match="not this link's"):
            link.call(clock.NOW, clock.Now(), channel=7)
        with pytest.raises(BrokenPipe):
            link.call(clock.NOW, clock.Now())


def test_children_end_with_their_session_unless_detached(tmp_path: Path) -> None:
    program = tmp_path / "loop.py"
    program.write_text(LOOP)
    with kernel_up(config=SIM) as up, up.link() as watch:
        with up.link() as link:
            attached = spawn(link, f"{program}:forever")
            detached = spawn(link, f"{program}:forever", detach=True)
            until(lambda: _workers(watch, [attached, detached]))
        until(lambda: attached not in _pids(watch))
        assert detached in _pids(watch)
        watch.call(process.KILL, process.Kill(pid=detached))
        until(lambda: detached not in _pids(watch))


def test_a_program_that_never_yields_is_ended_after_the_grace_time(tmp_path: Path) -> None:
    program = tmp_path / "loop.py"
    program.write_text(LOOP)
    with kernel_up(config=SIM + "[bounds]\ngrace_s = 0.2\n") as up, up.link() as link:
        pid = spawn(link, f"{program}:stubborn")
        until(lambda: _workers(link, [pid]))
        link.call(process.KILL, process.Kill(pid=pid))
        ended = wait(link, pid)
        assert (ended.status, ended.code) == ("terminated", 143)


def _powered(up: KernelProcess) -> bool:
    """Whether the kernel knows that it is to stop: it says so in its trace."""
    try:
        with BlockingLink.connect(str(up.socket)) as link:
            return any(record.kind == "power" for record in trace(link))
    except (OSError, BrokenPipe):
        return True


def _pids(link: object) -> list[int]:
    table = link.call(process.LIST, process.ListProcesses(all=True))  # type: ignore[attr-defined]
    return [p.pid for p in table.processes]


def _workers(link: object, pids: list[int]) -> list[int]:
    table = link.call(process.LIST, process.ListProcesses(all=True))  # type: ignore[attr-defined]
    found = [p.worker for p in table.processes if p.pid in pids and p.worker and p.note]
    return found if len(found) == len(pids) else []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

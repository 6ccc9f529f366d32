"""The command line with a real kernel, every command an OS process of its own."""

import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine
from tests.kernelproc import until


@pytest.fixture
def kernos() -> Iterator[CommandLine]:
    """A home, in a folder with a short name: socket paths are short."""
    with tempfile.TemporaryDirectory(prefix="kn-", ignore_cleanup_errors=True) as home:
        yield CommandLine(Path(home))


@pytest.fixture
def up(kernos: CommandLine) -> Iterator[CommandLine]:
    """A home with a kernel running in the background, taken down at the end."""
    started = kernos("up", "-d")
    assert started.returncode == 0, started.stderr
    yield kernos
    kernos("down", "--grace", "0")


def alive(pid: int) -> bool:
    """Whether an OS process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_up_ps_down(kernos: CommandLine) -> None:
    told = kernos.json("up", "-d")
    assert told["socket"] == f"{kernos.home}/run/kernos/kernel.sock"
    assert Path(told["log"]).is_file()
    assert "kernos" in [p["name"] for p in kernos.json("ps", "-a")]
    again = kernos("up", "-d")
    assert again.returncode == 5 and "kernos down" in again.stderr
    stopped = kernos("down")
    assert (stopped.returncode, stopped.stderr) == (0, f"kernos: kernel {told['pid']} stopped\n")
    assert not alive(told["pid"])
    assert kernos("ps").returncode == 6


def test_when_up_returns_there_is_what_clients_know_the_kernel_by(kernos: CommandLine) -> None:
    told = kernos.json("up", "-d", "--listen", "127.0.0.1:0")
    ca = Path(told["state"]) / "remote" / "ca.pem"
    try:
        assert ca.read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert kernos("credential", "new", "--allow", "process:* list", "--expires", "1h", "--out", "c").returncode == 0
        kernos.environ.update(KERNOS_CA=str(ca), KERNOS_CREDENTIAL="c")
        assert kernos("ps", "--host", told["listening"]).returncode == 0
        assert "narrowed   never" in kernos("credential", "show", "c").stdout
    finally:
        kernos.environ.pop("KERNOS_CREDENTIAL", None)
        kernos("down", "--grace", "0")


def test_up_in_the_foreground_is_the_kernel_itself(kernos: CommandLine) -> None:
    with kernos.start("up") as kernel:
        until(lambda: kernos("ps").returncode == 0)
        assert kernos.json("down")["pid"] == kernel.pid
        assert kernel.wait(20) == 0


def test_up_takes_over_what_a_dead_kernel_left(kernos: CommandLine) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(kernos.socket))
    assert kernos("up", "-d", "--socket", kernos.socket).returncode == 0
    assert kernos("ps", "--socket", kernos.socket).returncode == 0
    assert kernos("down", "--socket", kernos.socket).returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--socket", "/tmp/" + "x" * 120], 2, "at most 107 bytes"),
        (["--config", "gone.toml"], 2, "gone.toml"),
        (["--config", "bad.toml"], 125, "sokket"),
        (["--state", "/proc/nowhere"], 1, "--state"),
    ],
)
def test_up_refuses_clearly(kernos: CommandLine, words: list[str], code: int, says: str) -> None:
    (kernos.home / "bad.toml").write_text('sokket = "x"\n')
    refused = kernos("up", "-d", *words)
    assert refused.returncode == code
    assert says in refused.stderr
    assert len(refused.stderr.splitlines()) == 1, refused.stderr


def test_run_shows_output_value_and_code(up: CommandLine) -> None:
    done = up("run", "programs.py:echo", "hi", "--times", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out hi\n", "err hi\n")
    told = up("run", "-o", "json", "programs.py:echo", "hi")
    assert json.loads(told.stdout)["value"] == ["hi"]
    assert told.stderr == "out hi\nerr hi\n" or sorted(told.stderr.split("\n")) == ["", "err hi", "out hi"]


def test_run_sends_what_is_piped_in(up: CommandLine) -> None:
    done = up("run", "-o", "json", "programs.py:lines", stdin="one\ntwo\nthree")
    assert json.loads(done.stdout)["value"] == 3
    assert done.stderr == "got one\ngot two\ngot three\n"


def test_run_fails_as_the_program_does(up: CommandLine) -> None:
    raised = up("run", "programs.py:raises")
    assert raised.returncode == 1
    assert raised.stderr.endswith("kernos: RuntimeError: no luck\n")
    late = up("run", "--timeout", "0.3", "programs.py:sleeper")
    assert (late.returncode, late.stdout) == (124, "sleeping\n")
    assert "ran out of time" in late.stderr
    misused = up("run", "programs.py:echo", "--nonsense")
    assert misused.returncode == 2
    assert misused.stderr.startswith("usage: echo WORD")
    assert up("run", "programs.py:nobody").returncode == 3
    assert up("run", "nosuchprogram").returncode == 3


def test_a_program_is_refused_what_was_not_granted(up: CommandLine) -> None:
    refused = up("run", "programs.py:sums")
    assert refused.returncode == 4
    assert "--allow 'tool:calculator.calculate call'" in refused.stderr
    granted = up("run", "--allow", "tool:calculator.* call", "programs.py:sums")
    assert granted.returncode != 4, granted.stderr


def test_a_program_sees_its_own_folder_and_what_is_allowed(up: CommandLine) -> None:
    with tempfile.TemporaryDirectory(prefix="kn-") as other:
        (Path(other) / "secret.txt").write_text("told")
        os.chmod(other, 0o755)
        os.chmod(up.home, 0o755)
        assert up("run", "programs.py:peeks", f"{other}/secret.txt").returncode == 1
        granted = up("run", "--allow", f"file:{other}/** read", "programs.py:peeks", f"{other}/secret.txt")
        assert (granted.returncode, granted.stdout) == (0, "told\n")


def test_a_detached_program_is_seen_slowed_stopped_and_killed(up: CommandLine) -> None:
    pid = int(up("run", "--detach", "--name", "dozer", "programs.py:sleeper").stdout)
    (seen,) = until(lambda: [p for p in up.json("ps") if p["state"] == "waiting"])
    assert (seen["pid"], seen["name"]) == (pid, "dozer")
    assert up("nice", "-n", "7", pid).returncode == 0
    assert up("kill", "-STOP", pid).returncode == 0
    (seen,) = up.json("ps")
    assert (seen["nice"], seen["state"]) == (7, "stopped")
    assert up("logs", pid).stdout == "sleeping\n"
    with up.start("logs", "-f", pid) as following:
        assert up("kill", "-9", pid).returncode == 0
        assert following.wait(20) == 0
    assert up("kill", "99999").returncode == 3
    lines = up("trace", pid).stdout.splitlines()
    assert f"{pid} --- SIGSTOP ---" in lines and f"{pid} --- SIGKILL ---" in lines
    assert any(line.startswith(f"{pid} +++ killed, exit code 137") for line in lines)


def test_ctrl_c_ends_the_program_and_is_130(up: CommandLine) -> None:
    with up.start("run", "programs.py:sleeper") as running:
        assert running.stdout is not None and running.stdout.readline() == "sleeping\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
    assert up.json("ps") == []


def test_a_killed_command_takes_its_program_along(up: CommandLine) -> None:
    with up.start("run", "programs.py:sleeper") as running:
        assert running.stdout is not None and running.stdout.readline() == "sleeping\n"
        running.kill()
    assert until(lambda: up.json("ps") == [])


def test_models_and_devices(up: CommandLine) -> None:
    (model,) = up.json("model", "list")
    assert (model["ref"], model["default"]) == ("sim@1", True)
    assert up("model", "add", "gone", "./gone").returncode in (2, 3)
    assert up("model", "show", "gone").returncode == 3
    assert {device["kind"] for device in up.json("device", "list")} >= {"model", "store", "embedding"}


def test_top_and_version(up: CommandLine) -> None:
    lines = up("top").stdout.splitlines()
    assert lines[0].startswith("kernos ") and lines[3].split()[0] == "PID"
    assert up.json("version")["kernel"]


def test_a_reader_that_leaves_ends_the_command_without_a_word(up: CommandLine) -> None:
    reading, writing = os.pipe()
    with up.start("trace", "-f", stdout=writing) as tracing:
        os.close(writing)
        assert os.read(reading, 10)
        os.close(reading)
        assert up("ps").returncode == 0  # something to tell
        assert tracing.wait(20) == 141
        assert tracing.stderr is not None and tracing.stderr.read() == ""


def test_doctor_tells_what_it_sees(up: CommandLine) -> None:
    done = up("doctor", "-o", "json")
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert found["python"]["status"] == found["kernel"]["status"] == found["packages"]["status"] == "ok"
    assert any(check.startswith("sandbox: ") for check in found)
    assert all(finding["fix"] for finding in found.values() if finding["status"] == "fail")


def test_run_without_a_kernel_brings_its_own_and_leaves_nothing(kernos: CommandLine) -> None:
    with kernos.start("run", "--config", kernos.config, "programs.py:echo", "hi") as running:
        out, err = running.communicate()
    assert (running.returncode, out) == (0, "out hi\n"), err
    assert not list(Path(tempfile.gettempdir()).glob(f"kernos-run-{running.pid}-*"))


def test_an_ephemeral_kernel_ends_with_a_command_that_is_killed(kernos: CommandLine) -> None:
    with kernos.start("run", "--config", kernos.config, "programs.py:sleeper") as running:
        assert running.stdout is not None and running.stdout.readline() == "sleeping\n"
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        (kernel,) = map(int, children)
        running.kill()
    assert until(lambda: not alive(kernel))
    left = Path(tempfile.gettempdir()).glob(f"kernos-run-{running.pid}-*")
    assert kernos("run", "--config", kernos.config, "programs.py:echo", "hi").returncode == 0
    assert not any(folder.exists() for folder in left), "the next command sweeps"


def test_a_kernel_that_cannot_boot_is_one_line(kernos: CommandLine) -> None:
    (kernos.home / "bad.toml").write_text("nonsense = 1\n")
    done = kernos("run", "--config", "bad.toml", "programs.py:echo", "hi")
    assert done.returncode == 125
    assert "nonsense" in done.stderr and len(done.stderr.splitlines()) == 1

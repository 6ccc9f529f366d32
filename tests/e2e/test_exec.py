"""`kernos exec` with a real kernel: executables that know nothing of it, in jails of their own."""

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.commandline import KERNOS, CommandLine
from tests.kernelproc import until
from tests.terminal import Terminal

HERE = Path(__file__).parent / "exec_programs"
NODE, PYTHON, CURL = Path("/usr/bin/node"), Path("/usr/bin/python3"), Path("/usr/bin/curl")
SCRIPT = [
    {"match": "holds tea", "text": "A small cup holds tea, and a large one holds more of it."},
    {"match": r"6\*7", "calls": [{"name": "calculate", "arguments": {"expression": "6*7"}}]},
]
CONFIG = f"""
default_model = "sim"
embedding = "sim"
store = "memory"
[models.sim]
origin = "sim:"
[models.sim.options]
script = {json.dumps(json.dumps(SCRIPT))}
[net.hosts]
"site.test" = ["127.0.0.1"]
"""


@pytest.fixture(scope="module")
def up() -> Iterator[CommandLine]:
    """A home with a kernel running in the background."""
    with tempfile.TemporaryDirectory(prefix="kx-", ignore_cleanup_errors=True) as home:
        kernos = CommandLine(Path(home))
        (kernos.home / "config" / "kernos" / "kernos.toml").write_text(CONFIG)
        started = kernos("up", "-d")
        assert started.returncode == 0, started.stderr
        yield kernos
        kernos("down", "--grace", "0")


@pytest.fixture
def folder(up: CommandLine, request: pytest.FixtureRequest) -> Path:
    made: Path = up.home / "granted" / request.node.name.replace("[", "-").replace("]", "")
    made.mkdir(parents=True)
    return made


def python() -> list[str]:
    """The options that show a command this interpreter and what is installed for it."""
    places = dict.fromkeys((sys.prefix, sys.base_prefix))
    return [word for place in places if not place.startswith("/usr") for word in ("--read", place)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "exit 3"], 3),
        (["sh", "-c", "kill -SEGV $$"], 128 + signal.SIGSEGV),
        (["/no/such/program"], 127),
        (["sh", "-c", "echo a | grep -q b"], 1),
    ],
)
def test_its_exit_code_is_the_exit_code(up: CommandLine, words: list[str], code: int) -> None:
    assert up("exec", "--", *words).returncode == code


def test_what_is_no_program_is_126_or_127(up: CommandLine, folder: Path) -> None:
    (folder / "text").write_text("no program")
    (folder / "script").write_text("#!/no/such/interpreter\n")
    (folder / "script").chmod(0o755)
    done = up("exec", "--read", folder, "--", folder / "text")
    assert (done.returncode, "Permission denied" in done.stderr) == (126, True)
    done = up("exec", "--read", folder, "--", folder / "script")
    assert (done.returncode, "interpreter" in done.stderr) == (127, True)


def test_its_streams_are_ours(up: CommandLine) -> None:
    done = up("exec", "--", "sh", "-c", "tr a-z A-Z; echo done >&2", stdin="tea\n" * 50_000)
    assert done.stdout == "TEA\n" * 50_000
    assert done.stderr == "done\n"


def test_a_reader_that_leaves_ends_it(up: CommandLine) -> None:
    started = up.start("exec", "--", "yes")
    assert started.stdout is not None
    started.stdout.readline()
    started.stdout.close()
    assert started.wait(timeout=30) in (128 + signal.SIGPIPE, 141)
    started.stderr and started.stderr.close()


def test_of_the_host_it_sees_the_system_and_nothing_else(up: CommandLine) -> None:
    looks = "cat /etc/shadow; ls -d /root /home /work /srv /etc/ssh; ls /; cat /etc/passwd; id -u; cat /proc/1/comm"
    done = up("exec", "--", "sh", "-c", looks)
    assert set(done.stdout.split("root:")[0].split()) <= {
        *("bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "nix", "proc", "run", "sbin", "tmp", "usr", "var"),
    }
    assert done.stderr.count("No such file") == 6
    assert str(up.home) not in done.stdout


def test_its_environment_is_its_own(up: CommandLine, folder: Path) -> None:
    up.environ["SECRET_OF_OURS"] = "no"
    done = up("exec", "--read", folder, "--env", "GIVEN={port}", "--cwd", folder, "--", "sh", "-c", "env; pwd")
    del up.environ["SECRET_OF_OURS"]
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert "SECRET_OF_OURS" not in found and found["GIVEN"] == "{port}"
    assert found["OPENAI_BASE_URL"].startswith("http://127.0.0.1:") and found["KERNOS_MCP_URL"].endswith("/mcp")
    assert found["HOME"] == "/tmp" and done.stdout.splitlines()[-1] == str(folder)


def test_a_folder_is_as_it_was_granted(up: CommandLine, folder: Path) -> None:
    (folder / "a").write_text("as it was")
    done = up("exec", "--read", folder, "--", "sh", "-c", f"cat {folder}/a; echo x > {folder}/b")
    assert done.stdout == "as it was" and done.returncode != 0 and not (folder / "b").exists()
    done = up("exec", "--write", folder, "--", "sh", "-c", f"echo x > {folder}/b; rm {folder}/a")
    assert done.returncode == 0, done.stderr
    assert [each.name for each in folder.iterdir()] == ["b"]
    assert (folder / "b").stat().st_uid == os.getuid()


@pytest.mark.parametrize("path", ["/dev", "/proc/sys", "{home}", "{home}/state"])
def test_what_no_command_may_see_is_refused(up: CommandLine, path: str) -> None:
    done = up("exec", "--read", path.format(home=up.home), "--", "true")
    assert done.returncode == 2 and "cannot be granted" in done.stderr


@pytest.mark.skipif(not PYTHON.exists(), reason="the system has no Python")
def test_its_network_is_its_own(up: CommandLine, folder: Path) -> None:
    probe = folder / "probe.py"
    probe.write_text(
        "import socket\n"
        "def tries(what, *args):\n"
        "    try:\n"
        "        what(*args)\n"
        "    except OSError as failed:\n"
        "        print(type(failed).__name__)\n"
        "    else:\n"
        "        print('reached')\n"
        "tries(socket.create_connection, ('192.0.2.1', 80), 2)\n"
        "tries(socket.create_connection, ('127.0.0.1', 1), 2)\n"
        "tries(socket.socket, socket.AF_UNIX)\n"
        "tries(socket.socket, 40, socket.SOCK_STREAM)\n"
        "own = socket.create_server(('127.0.0.1', 0))\n"
        "tries(socket.create_connection, own.getsockname())\n"
    )
    done = up("exec", "--read", folder, "--", PYTHON, probe)
    assert done.stdout.split() == ["OSError", "ConnectionRefusedError", "OSError", "OSError", "reached"], done.stderr


def test_the_openai_client_until_its_budget_is_used_up(up: CommandLine) -> None:
    pytest.importorskip("openai")
    program = HERE / "with_openai.py"
    done = up("exec", *python(), "--read", program, "--budget", "tokens=4k", "--", sys.executable, program)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["models"] == ["sim"]
    assert told["whole"] == told["streamed"] and told["whole"].startswith("A small cup holds tea")
    assert told["pieces"] > 3 and told["tokens"] == told["streamed_tokens"]
    assert told["calls"] == [{"name": "calculate", "arguments": '{"expression":"6*7"}'}]
    assert told["refusals"] == {
        "key": [401, "invalid_api_key"],
        "model": [404, "model_not_found"],
        "messages": [400, "invalid_value"],
        "budget": [429, "insufficient_quota"],
    }


def test_an_mcp_client_until_its_budget_is_used_up(up: CommandLine) -> None:
    pytest.importorskip("mcp")
    program = HERE / "with_mcp.py"
    grants = [*python(), "--read", program, "--allow", "tool:calculator.* call", "--budget", "calls=60"]
    done = up("exec", *grants, "--", sys.executable, program)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["tools"] == {"calculator_calculate": ["expression"]}
    assert told["answer"] == ["42"] and told["refused"][0].startswith("EQUOTA")


@pytest.mark.skipif(not NODE.exists(), reason="node is not there")
def test_a_node_program_until_its_budget_is_used_up(up: CommandLine) -> None:
    program = HERE / "with_fetch.mjs"
    done = up("exec", "--read", program, "--budget", "tokens=200", "--", "node", program)
    assert done.returncode == 7, done.stderr
    told = json.loads(done.stdout)
    assert told["answered"] > 2 and (told["status"], told["code"]) == (429, "insufficient_quota")


def test_its_calls_are_its_own(up: CommandLine) -> None:
    curl = 'curl -s -H "Authorization: Bearer $OPENAI_API_KEY" $OPENAI_BASE_URL/models >/dev/null; echo $KERNOS_PID'
    done = up("exec", "--", "sh", "-c", curl)
    if "not found" in done.stderr:
        pytest.skip("no curl")
    traced = map(json.loads, up("trace", done.stdout.strip(), "-o", "json").stdout.splitlines())
    assert "model.list" in [record["name"] for record in traced]


def test_a_right_that_was_not_granted_is_refused_by_the_kernel(up: CommandLine) -> None:
    call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"calculator_calculate","arguments":{}}}'
    done = up("exec", "--", "sh", "-c", f"curl -s -d '{call}' $KERNOS_MCP_URL")
    if "not found" in done.stderr:
        pytest.skip("no curl")
    assert "there is no tool" in done.stdout


@pytest.fixture
def site() -> Iterator[int]:
    """A web server of this machine; its port."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"served {self.path}".encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.skipif(not CURL.exists(), reason="curl is not there")
@pytest.mark.parametrize("tunnel", [(), ("--proxytunnel",)], ids=("whole", "tunnel"))
def test_it_connects_where_it_was_granted_and_nowhere_else(up: CommandLine, site: int, tunnel: tuple[str, ...]) -> None:
    asks = (CURL, "-s", "-S", "-m", "20", *tunnel, f"http://site.test:{site}/a?b")

    def tries(*rights: str) -> tuple[int, str]:
        grants = [word for right in rights for word in ("--allow", right)]
        done = up("exec", *grants, "--", *asks)
        return done.returncode, done.stdout

    assert tries(f"net:tcp:site.test:{site} connect,private") == (0, "served /a?b")
    for rights in ((f"net:tcp:site.test:{site} connect",), ("net:tcp:other.test:80 connect",)):
        code, said = tries(*rights)
        assert (code != 0) if tunnel else ("granted" in said)
    assert tries()[0] != 0


@pytest.mark.skipif(not CURL.exists(), reason="curl is not there")
@pytest.mark.parametrize("tunnel", [(), ("--proxytunnel",)], ids=("whole", "tunnel"))
def test_a_whole_site_is_reached_and_part_of_one_is_not(up: CommandLine, site: int, tunnel: tuple[str, ...]) -> None:
    asks = (CURL, "-s", "-S", "-m", "20", *tunnel, f"http://site.test:{site}/a?b")
    whole = up("exec", "--name", "whole", "--allow", f"net:http://site.test:{site}/** *", "--", *asks)
    assert (whole.returncode, whole.stdout, whole.stderr) == (0, "served /a?b", "")
    for part in (f"net:http://site.test:{site}/** get,private", f"net:http://site.test:{site}/a *"):
        refused = up("exec", "--allow", part, "--", *asks)
        assert refused.returncode != 0 and "served" not in refused.stdout
        assert "a site counts only as a whole" in refused.stderr
    other = up("exec", "--allow", "net:http://other.test/** *", "--", *asks)
    assert (other.returncode != 0) if tunnel else ("is 'net:tcp:site.test:" in other.stdout)


def test_it_is_shown_as_what_it_is_and_held_back_when_it_spins(up: CommandLine) -> None:
    script = "sh -c 'while :; do :; done' & echo $!; read line; kill $!"
    with up.start("exec", "--name", "spinner", "--", "sh", "-c", script, stdin=PIPE) as started:
        assert started.stdout is not None and started.stdin is not None
        assert started.stdout.readline()
        shown = next(each for each in up.json("ps") if each["name"] == "spinner")
        assert shown["tier"] == "command"
        spins = until(lambda: [pid for pid in _below(shown["worker"]) if os.sched_getscheduler(pid) == os.SCHED_IDLE])
        assert len(spins) == 1, "the loop, and not the shell that waits for a line"
        started.stdin.write("enough\n")
        started.stdin.flush()
        assert started.wait(timeout=30) == 0


def _below(pid: int) -> list[int]:
    """An OS process, and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _below(int(child)))]


def _pid(up: CommandLine, name: str) -> int:
    listed = until(lambda: [each for each in up.json("ps") if each["name"] == name and each["worker"]])
    return int(listed[0]["pid"])


def test_signals_reach_it(up: CommandLine) -> None:
    script = "trap 'echo int' INT; trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    with up.start("exec", "--name", "trapper", "--", "sh", "-c", script) as started:
        assert started.stdout is not None and started.stdout.readline() == "ready\n"
        started.send_signal(signal.SIGINT)
        assert started.stdout.readline() == "int\n"
        pid = _pid(up, "trapper")
        assert up("kill", "-s", "STOP", pid).returncode == 0
        until(lambda: up.json("ps")[0]["state"] == "stopped")
        assert up("kill", "-s", "CONT", pid).returncode == 0
        assert up("kill", pid).returncode == 0
        assert started.stdout.readline() == "term\n"
        assert started.wait(timeout=30) == 143


def test_it_is_killed_with_all_that_it_started(up: CommandLine) -> None:
    script = "(setsid sleep 1000 &) ; trap '' TERM; echo ready; sleep 1000"
    with up.start("exec", "--name", "stubborn", "--", "sh", "-c", script) as started:
        assert started.stdout is not None and started.stdout.readline() == "ready\n"
        pid = _pid(up, "stubborn")
        worker = next(each["worker"] for each in up.json("ps") if each["pid"] == pid)
        assert up("kill", "-s", "KILL", pid).returncode == 0
        assert started.wait(timeout=30) == 137
    until(lambda: not Path(f"/proc/{worker}").exists())


def test_it_has_so_long_and_no_longer(up: CommandLine) -> None:
    assert up("exec", "--timeout", "0.2", "--", "sleep", "1000").returncode == 124


def test_its_limits_are_the_system_s(up: CommandLine) -> None:
    done = up("exec", "--limit", "files=20,processes=9,cpu=7s", "--", "sh", "-c", "ulimit -n; ulimit -t")
    assert done.stdout.split() == ["20", "7"], done.stderr


def test_its_processor_time_is_limited_and_that_is_said(up: CommandLine) -> None:
    done = up("exec", "--limit", "cpu=1s", "--", "sh", "-c", "while :; do :; done")
    assert done.returncode == 1 and "cpu: 1 s" in done.stderr, (done.returncode, done.stderr)


def test_detached_its_output_is_its_log(up: CommandLine) -> None:
    pid = up("exec", "--detach", "--", "sh", "-c", "echo to the log").stdout.strip()
    until(lambda: up("logs", pid).stdout == "to the log\n")


def test_detached_it_fills_its_log_no_faster_than_it_may(up: CommandLine) -> None:
    pid = up("exec", "--detach", "--limit", "output=4k", "--", "yes").stdout.strip()
    told = until(lambda: [each for each in map(json.loads, up("events", "-o", "json").stdout.splitlines())
                          if each["pid"] == int(pid) and each["kind"] == "exit"])  # fmt: skip
    assert told[0]["detail"]["status"] == "over_limit" and "output: 4 KiB/s" in told[0]["detail"]["error"]


def test_a_terminal_is_a_terminal(up: CommandLine) -> None:
    script = "stty size; test -t 0 && test -t 1 && echo both; read line; echo got $line; sleep 1000"
    with Terminal([*KERNOS, "exec", "--", "sh", "-c", script], environ=up.environ, folder=up.home) as terminal:
        terminal.expect("both")
        terminal.type("tea\r")
        terminal.expect("got tea")
        # A shell that is hit between two commands starts the next one all the same.
        assert terminal.ended(typing="\x03") == 128 + signal.SIGINT


def test_it_dies_with_its_kernel() -> None:
    with tempfile.TemporaryDirectory(prefix="kx-", ignore_cleanup_errors=True) as home:
        kernos = CommandLine(Path(home))
        assert kernos("up", "-d").returncode == 0
        with kernos.start("exec", "--name", "left", "--", "sh", "-c", "echo ready; sleep 1000") as started:
            assert started.stdout is not None and started.stdout.readline() == "ready\n"
            worker = next(each["worker"] for each in kernos.json("ps") if each["name"] == "left")
            parent = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(parent, signal.SIGKILL)
            _, errors = started.communicate(timeout=30)
            assert (started.returncode, errors.count("\n")) == (6, 1), errors
        until(lambda: not Path(f"/proc/{worker}").exists())


def test_without_a_kernel_there_is_one_for_it_alone() -> None:
    with tempfile.TemporaryDirectory(prefix="kx-", ignore_cleanup_errors=True) as home:
        done = CommandLine(Path(home))("exec", "--", "sh", "-c", "echo $KERNOS_MODEL; exit 3")
        assert (done.stdout, done.returncode) == ("sim\n", 3), done.stderr


FILLS = {
    "one file over and over": "while :; do head -c 1000000 /dev/zero > {folder}/file; done",
    "by children that nobody waits for": (
        "trap '' CHLD; n=0; while :; do n=$((n+1)); (head -c 4000000 /dev/zero > {folder}/$n) & sleep 0.05; done"
    ),
}


@pytest.mark.parametrize("overlay", [[], ["--overlay"]], ids=["folder", "overlay"])
@pytest.mark.parametrize("script", FILLS.values(), ids=[name.replace(" ", "-") for name in FILLS])
def test_one_that_fills_the_disk_is_ended_with_the_limit_named(
    up: CommandLine, folder: Path, script: str, overlay: list[str]
) -> None:
    words = ["sh", "-c", script.format(folder=folder)]
    done = up("exec", "--write", folder, *overlay, "--limit", "disk=24m", "--", *words)
    assert done.returncode == 1
    assert "disk: 24 MiB" in done.stderr


def test_an_overlay_is_full_of_what_holds_nothing(up: CommandLine, folder: Path) -> None:
    script = f"mkdir {folder}/f; n=0; while :; do n=$((n+1)); : > {folder}/f/$n; done"
    done = up("exec", "--write", folder, "--overlay", "--limit", "disk=256k", "--", "sh", "-c", script)
    assert done.returncode == 1 and "disk: 256 KiB" in done.stderr


def test_space_is_not_reserved_without_being_written(up: CommandLine, folder: Path) -> None:
    program = (
        "import os; fd = os.open('reserved', os.O_CREAT | os.O_RDWR)\n"
        "os.posix_fallocate(fd, 0, 1 << 20); assert os.fstat(fd).st_size == 1 << 20"
    )
    assert up("exec", "--write", folder, "--cwd", folder, "--", PYTHON, "-c", program).returncode == 0
    program = program.replace("1 << 20", "64 << 20") + "\nimport time; time.sleep(20)"
    done = up("exec", "--write", folder, "--cwd", folder, "--limit", "disk=8m", "--", PYTHON, "-c", program)
    assert done.returncode == 1 and "disk: 8 MiB" in done.stderr


def test_space_is_not_reserved_by_the_old_calls_either(up: CommandLine, folder: Path) -> None:
    program = (
        "import ctypes, os, struct; fd = os.open('reserved', os.O_CREAT | os.O_RDWR); libc = ctypes.CDLL(None)\n"
        "region = struct.pack('hhqqiI16x', 0, 0, 0, 16 << 20, 0, 0)\n"
        "for call in (0x40305828, 0x4030582A, 0x40305839, 0x4030582A | 1 << 32):\n"  # FS_IOC_RESVSP and its like
        "    libc.ioctl(fd, ctypes.c_ulong(call), region)\n"
        "print(os.fstat(fd).st_blocks)"
    )
    done = up("exec", "--write", folder, "--cwd", folder, "--limit", "disk=8m", "--", PYTHON, "-c", program)
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr

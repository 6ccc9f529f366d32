"""Without a jail: what is refused, what the operator may allow by name, and that a kernel comes up where there is none.

Broken by: a program that is run though nobody allowed it, a limit that is not set, a worker that outlives its kernel,
an import of what Linux alone has. No Mac was at hand: another system is pretended (`tests/elsewhere`).
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from sandbox import weak
from sandbox.spec import WorkerSpec
from syscalls.calls import command, process
from syscalls.calls import kernel as kernel_calls
from syscalls.errors import SyscallError
from syscalls.link.blocking import BlockingLink
from syscalls.worker_limits import WorkerLimits
from tests.e2e.test_worker_limits import PROGRAM, kill
from tests.kernelproc import KernelProcess, kernel_up, spawn, trace, until, wait

REPOSITORY = Path(__file__).parents[2]
CONFIG = 'embedding = "sim"\nstore = "memory"\n'
WEAK = CONFIG + 'weak_sandbox = ["jail"]\n'
ADDS = """
from kernos import Sys, program

@program
async def adds(sys: Sys, one: int, two: int) -> int:
    print("adding")
    return one + two
"""


ENDS = """
import os, time
from kernos import Sys, program

@program
async def oddly(sys: Sys) -> None:
    os.kill(os.getpid(), 40)

@program
async def early(sys: Sys, note: str) -> None:
    child = os.fork()
    if child == 0:
        time.sleep(60)
    with open(note, "w") as file:
        file.write(str(child))
    os._exit(0)
"""


@contextmanager
def elsewhere(folder: Path, config: str) -> Iterator[KernelProcess]:
    """A kernel that takes its system for another one."""
    with kernel_up(config=config, folder=folder, through=("tests.elsewhere.pretend",)) as kernel:
        yield kernel
        assert kernel.stop() == 0


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelProcess]:
    with kernel_up(config=WEAK) as up:
        (up.folder / "over.py").write_text(PROGRAM)
        (up.folder / "adds.py").write_text(ADDS)
        (up.folder / "ends.py").write_text(ENDS)
        yield up


@pytest.fixture
def link(kernel: KernelProcess) -> BlockingLink:
    return kernel.link()


def refused(link: BlockingLink, *args: object, **options: object) -> SyscallError | str:
    """What comes of a spawn that must not succeed: the error, or that of its exit."""
    try:
        return wait(link, spawn(link, *args, **options)).error  # type: ignore[arg-type]
    except SyscallError as error:
        return error


def test_programs_and_tools_run_and_that_is_said(kernel: KernelProcess, link: BlockingLink) -> None:
    ended = wait(link, spawn(link, f"{kernel.folder}/adds.py:adds", 1, 2))
    assert ended.status == "done" and bytes(ended.value) == b"\x03", ended
    assert "no jail, as weak_sandbox says" in kernel.stderr()
    said = [record for record in trace(link) if record.kind == "weak_sandbox"]
    assert len(said) == 1 and "they see its files" in said[0].detail["what"]


@pytest.mark.parametrize(
    ("name", "limits", "told"),
    [
        ("spins", WorkerLimits(cpu_s=1), "cpu: 1 s"),
        ("hoards", WorkerLimits(memory_bytes=512 << 20), "memory: 512 MiB"),
        ("opens", WorkerLimits(files=40), "files: 40"),
        ("prints", WorkerLimits(output_bytes_s=65536), "output: 64 KiB/s"),
    ],
)
def test_limits_hold(kernel: KernelProcess, link: BlockingLink, name: str, limits: WorkerLimits, told: str) -> None:
    ended = wait(link, spawn(link, f"{kernel.folder}/over.py:{name}", limits=limits))
    assert ended.status == "over_limit" and told in ended.error


def test_what_needs_the_jail_is_refused(kernel: KernelProcess, link: BlockingLink) -> None:
    assert "needs the jail" in str(refused(link, f"{kernel.folder}/adds.py:adds", 1, 2, tier="files"))
    pid = link.call(command.EXEC, command.Exec(path="/bin/true", argv=("true",))).pid
    assert "executables need the jail" in wait(link, pid).error


def test_a_worker_ends_as_it_likes_and_leaves_nobody(kernel: KernelProcess, link: BlockingLink) -> None:
    ended = wait(link, spawn(link, f"{kernel.folder}/ends.py:oddly"))
    assert ended.status == "worker_lost" and "Traceback" not in kernel.stderr(), kernel.stderr()
    note = kernel.folder / "child"
    assert wait(link, spawn(link, f"{kernel.folder}/ends.py:early", str(note))).status == "worker_lost"
    until(lambda: not _alive(int(note.read_text())))


def test_a_worker_dies_with_its_kernel_and_all_that_it_started() -> None:
    with kernel_up(config=WEAK) as up:
        (up.folder / "over.py").write_text(PROGRAM)
        link = up.link()
        pids = [spawn(link, f"{up.folder}/over.py:{name}") for name in ("waits", "spins")]
        table: process.Processes = until(lambda: _all_there(link, pids))
        workers = [info.worker for info in table.processes if info.pid in pids]
        os.kill(up.child.pid, signal.SIGKILL)
        up.child.wait()
        until(lambda: not any(_alive(pid) for pid in workers))


def _all_there(link: BlockingLink, pids: list[int]) -> process.Processes | None:
    table: process.Processes = link.call(process.LIST, process.ListProcesses())
    return table if all(info.worker for info in table.processes if info.pid in pids) else None


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_elsewhere_a_kernel_comes_up_and_refuses_programs(tmp_path: Path) -> None:
    (tmp_path / "adds.py").write_text(ADDS)
    with elsewhere(tmp_path, CONFIG) as kernel:
        link = kernel.link()
        info: kernel_calls.KernelInfo = link.call(kernel_calls.INFO, kernel_calls.Info())
        assert info.pid == kernel.child.pid
        told = str(refused(link, f"{tmp_path}/adds.py:adds", 1, 2))
        assert "darwin has no jail" in told and 'weak_sandbox = ["jail"]' in told
        assert "darwin has no jail" in kernel.stderr()


def test_elsewhere_who_hangs_up_before_he_is_asked_for_harms_nobody(tmp_path: Path) -> None:
    with elsewhere(tmp_path, CONFIG) as kernel:
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(tmp_path / "k.sock"))
        assert kernel.link().call(kernel_calls.INFO, kernel_calls.Info()).pid == kernel.child.pid


def test_elsewhere_programs_run_where_the_operator_says_so(tmp_path: Path) -> None:
    (tmp_path / "adds.py").write_text(ADDS)
    (tmp_path / "over.py").write_text(PROGRAM)
    with elsewhere(tmp_path, WEAK) as kernel:
        link = kernel.link()
        ended = wait(link, spawn(link, f"{tmp_path}/adds.py:adds", 1, 2))
        assert ended.status == "done" and bytes(ended.value) == b"\x03", ended
        over = wait(link, spawn(link, f"{tmp_path}/over.py:spins", limits=WorkerLimits(cpu_s=1)))
        assert over.status == "over_limit" and "cpu: 1 s" in over.error
        waits = spawn(link, f"{tmp_path}/over.py:waits")
        kill(link, waits)
        assert wait(link, waits).status == "killed"


def test_elsewhere_the_doctor_says_what_there_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.elsewhere.pretend", "sandbox.probe", "--json"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = {layer["name"]: layer for layer in json.loads(done.stdout)}
    assert found["jail"]["available"] is False and found["jail"]["needed"] is True
    assert 'weak_sandbox = ["jail"]' in found["jail"]["fix"]
    assert "CPU, AS, NOFILE, FSIZE, CORE" in found["weaker level"]["detail"]


def test_a_worker_without_a_jail_imports_nothing_of_linux() -> None:
    program = (
        "from tests.elsewhere.pretend import pretend; pretend(); import sys; "
        "import sandbox.weak_guest, userland.worker; "
        "print(*(name for name in sys.modules if name.startswith('sandbox')))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"sandbox", "sandbox.limits", "sandbox.spec", "sandbox.weak_guest"}


async def test_a_start_that_is_given_up_keeps_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    with trio.CancelScope() as scope:
        scope.cancel()
        await weak.start(WorkerSpec(entry="nothing:main"))
    assert scope.cancelled_caught and len(os.listdir("/proc/self/fd")) == len(before)

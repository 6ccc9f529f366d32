"""Driver hosts as OS processes: found by name, quiet on stdout, cancelled, killed, never outliving their parent."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio
from msgspec import Raw

from drivers.conformance.rig import CREDIT, Subject, device, host
from syscalls import driver as abi
from syscalls.errors import BrokenPipe, Errno, SyscallError
from syscalls.hooks import hookimpl
from syscalls.turns import user

SIM = Subject(driver="sim", kind="model", origin="x", options={"script": '["hello there"]'})
SLOW = Subject(
    driver="sim", kind="model", origin="x", options={"tokens_per_second": "1", "step_tokens": "1", "slots": "1"}
)


class Wayward:
    """A driver that prints, and fails in every way there is."""

    name = "wayward"
    kinds = ("model",)

    @hookimpl
    def kernos_driver(self) -> "Wayward":
        return self

    async def open(self, call: abi.Open) -> object:
        print("a library that prints", flush=True)
        faults: dict[str, BaseException] = {
            "value": ValueError("that is\nno value"),
            "file": FileNotFoundError(2, "No such file or directory", "/nowhere"),
            "memory": MemoryError(),
            "other": RuntimeError("fell over\nand more"),
            "silent": RuntimeError(),
            "group": ExceptionGroup("two", [ValueError("a"), KeyError("b")]),
        }
        raise faults[call.origin]


WAYWARD = Wayward()


async def test_hello_open_generate_ledger() -> None:
    async with device(SIM) as rig:
        hello = await rig.link.greeted()
        assert hello.info == {"driver": "sim", "pid": str(rig.process.pid)}
        said = await rig.say(user("hi"), sampling=abi.Sampling(50))
        assert said.text == "hello there"
        assert await rig.ledger() == abi.Ledger(prompt_tokens=5, generated_tokens=12, generations=1)


@pytest.mark.parametrize(
    ("origin", "errno", "message"),
    [
        ("value", Errno.EINVAL, "that is"),
        ("file", Errno.ENOENT, "[Errno 2] No such file or directory: '/nowhere'"),
        ("memory", Errno.EAGAIN, "MemoryError"),
        ("other", Errno.EIO, "RuntimeError: fell over"),
        ("silent", Errno.EIO, "RuntimeError"),
        ("group", Errno.EIO, "ExceptionGroup: two (2 sub-exceptions)"),
    ],
)
async def test_what_a_driver_raises_becomes_an_errno(origin: str, errno: Errno, message: str) -> None:
    async with host(Subject(driver=f"{__name__}:WAYWARD", kind="model", origin=origin)) as rig:
        with pytest.raises(SyscallError) as failed:
            await rig.open()
        assert (failed.value.errno, failed.value.message) == (errno, message)
        assert (await rig.ledger()).generations == 0


@pytest.mark.parametrize(
    ("driver", "errno", "message"),
    [
        ("nobody", Errno.ENOENT, "no driver 'nobody': there are chroma, "),
        ("drivers.window:check_window", Errno.EINVAL, "brings no driver"),
        ("no.such.module:x", Errno.EIO, "ModuleNotFoundError: No module named 'no'"),
    ],
)
async def test_a_driver_that_is_none_is_told_when_it_is_opened(driver: str, errno: Errno, message: str) -> None:
    async with host(Subject(driver=driver, kind="model", origin="")) as rig:
        await rig.link.greeted()
        with pytest.raises(SyscallError) as failed:
            await rig.open()
        assert failed.value.errno is errno
        assert message in failed.value.message


async def test_a_kind_that_the_driver_does_not_serve_is_refused() -> None:
    async with host(Subject(driver="sim", kind="store", origin="")) as rig:
        with pytest.raises(SyscallError, match="ENOSYS: sim serves model, embedding"):
            await rig.open()


async def test_a_call_that_the_table_lacks_and_arguments_that_do_not_fit() -> None:
    async with device(SIM) as rig:
        unknown = msgspec.structs.replace(abi.RENDER, number=0x7F)
        refused = await rig.error_of(unknown, abi.Nothing())
        assert refused is not None
        assert refused.errno is Errno.ENOSYS
        refused = await rig.error_of(abi.RENDER, abi.Nothing())
        assert refused is not None
        assert refused.errno is Errno.EINVAL


async def test_cancelling_a_generation_frees_its_slot() -> None:
    async with device(SLOW) as rig:
        request = await rig.request(user("go"), sampling=abi.Sampling(4000))
        await rig.begin(request)
        await rig.begin(request)  # would wait for ever behind the first
        ledger = await rig.ledger()
        assert ledger.cancelled >= 1
        assert ledger.generations == ledger.cancelled


async def test_a_host_that_is_killed_breaks_the_link() -> None:
    async with device(SLOW) as rig:
        request = await rig.request(user("go"), sampling=abi.Sampling(4000))
        items: list[Raw] = []

        def kill(came: list[Raw]) -> None:
            items.extend(came)
            rig.process.kill()

        with pytest.raises(BrokenPipe):
            await rig.link.pour(abi.GENERATE, request, kill, credit=CREDIT)
        assert items


async def test_a_host_ends_with_its_link() -> None:
    async with device(SLOW) as rig:
        process = rig.process
    assert process.returncode == 0


async def test_ctrl_c_is_not_the_hosts() -> None:
    async with device(SIM) as rig:
        rig.process.send_signal(signal.SIGINT)
        assert (await rig.say(user("hi"), sampling=abi.Sampling(50))).text == "hello there"


async def test_what_libraries_print_goes_to_stderr() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        run = await trio.run_process(
            [sys.executable, "-c", f"import drivers.host as h; h._quiet(); print('noise'); {theirs.fileno()}"],
            capture_stdout=True,
            capture_stderr=True,
        )
    assert (run.stdout, run.stderr) == (b"", b"noise\n")


PARENT = """
import socket, subprocess, sys, threading, time
ours, theirs = socket.socketpair()
started = []
def start():
    started.append(subprocess.Popen([sys.executable, "-m", "drivers.host", "sim", "--fd", str(theirs.fileno())],
                                    pass_fds=[theirs.fileno(), ours.fileno()]))
if sys.argv[1] == "thread":
    thread = threading.Thread(target=start); thread.start(); thread.join()
else:
    start()
ours.recv(4096)
print(started[0].pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("started_by", ["main", "thread"])
async def test_a_host_does_not_outlive_its_parent_but_outlives_the_thread_that_started_it(started_by: str) -> None:
    """The host holds both ends of its link, so that only the tether can end it."""
    with subprocess.Popen(  # noqa: ASYNC220 (a parent to be killed)
        [sys.executable, "-c", PARENT, started_by], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(await trio.to_thread.run_sync(parent.stdout.readline))
        child = os.pidfd_open(pid)
        try:
            assert _alive(pid)
            parent.kill()
            with trio.fail_after(30):
                await trio.lowlevel.wait_readable(child)
        finally:
            os.close(child)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def test_importing_a_shipped_driver_is_cheap() -> None:
    """What the kernel's tests and HELLO rely on: nothing heavy before a device is opened."""
    code = (
        "import sys; from drivers.loading import load\n"
        "for name in ('torch', 'sim', 'chroma', 'memory', 'minilm', 'openai'): load(name)\n"
        "print(*sorted({'torch', 'transformers', 'numpy', 'chromadb'} & set(sys.modules)))"
    )
    run = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    assert run.stdout == b"\n"

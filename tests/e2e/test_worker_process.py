"""The worker as an OS process of its own, without a jail: the same code that runs inside one."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from syscalls.errors import BrokenPipe, IOFailed
from tests.fakekernel import FakeKernel, opened, said
from userland.link import run

HELLO = Path(__file__).resolve().parent.parent.parent / "examples" / "hello.py"


@asynccontextmanager
async def worker_process() -> AsyncIterator[tuple[FakeKernel, trio.Process]]:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "userland.worker", "--fd", str(theirs.fileno())]
    process = await trio.lowlevel.open_process(
        command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd=HELLO.parent.parent
    )
    theirs.close()
    async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
        kernel = FakeKernel(stream, {"context.open": opened, "context.generate": lambda args: said("Hello, Ada.")})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, kernel.link)
            await kernel.link.greeted()
            yield kernel, process
            nursery.cancel_scope.cancel()
    with trio.fail_after(20):
        await process.wait()


async def test_the_first_program_runs_and_the_worker_ends_with_its_link() -> None:
    from syscalls.calls.context import Appended

    async with worker_process() as (kernel, process):
        kernel.script["context.append"] = lambda args: Appended(version=1)
        with trio.fail_after(20):
            assert await kernel.run(f"{HELLO}:hello", "Ada", file=str(HELLO)) == "Hello, Ada."
        assert kernel.printed() == "Hello, Ada.\n"
    assert process.returncode == 0


async def test_a_program_that_never_yields_dies_with_its_worker(tmp_path: Path) -> None:
    file = tmp_path / "busy.py"
    file.write_text(
        "from kernos import Sys, program\n@program\nasync def busy(sys: Sys):\n"
        "    print('busy')\n    await sys.now()\n    while True:\n        pass\n"
    )
    from syscalls.calls.clock import Time

    async with worker_process() as (kernel, process):
        kernel.script["time.now"] = lambda args: Time(monotonic_s=0, unix_s=0)
        ticket = kernel.begin("busy", file=str(file))
        with trio.fail_after(20):
            while kernel.printed() != "busy\n":  # noqa: ASYNC110 (another OS process is what we wait for)
                await trio.sleep(0.01)
            ticket.cancel("TERM")
            os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(BrokenPipe):
                await ticket.outcome()


async def test_a_program_that_leaves_without_reading_replies_hangs_nobody(tmp_path: Path) -> None:
    file = tmp_path / "leaves.py"
    file.write_text(
        "import sys as python\nimport trio\nfrom kernos import Sys, program\n@program\nasync def leaves(sys: Sys):\n"
        "    async with trio.open_nursery() as nursery:\n        nursery.start_soon(sys.read_line)\n"
        "        await trio.lowlevel.checkpoint()\n        python.exit('enough')\n"
    )
    async with worker_process() as (kernel, _):
        kernel.script["message.receive"] = lambda args: None
        with trio.fail_after(20), pytest.raises(IOFailed, match="SystemExit: enough"):
            await kernel.run("leaves", file=str(file))


async def test_a_crash_of_the_interpreter_breaks_the_link_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "crash.py"
    file.write_text(
        "import os\nfrom kernos import Sys, program\n@program\nasync def crash(sys: Sys):\n    os._exit(3)\n"
    )
    async with worker_process() as (kernel, process):
        with trio.fail_after(20), pytest.raises(BrokenPipe):
            await kernel.run("crash", file=str(file))
    assert process.returncode == 3

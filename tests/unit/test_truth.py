"""The truth: durable when it says so, grouped, and clear about disks that fail."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import apsw
import pytest
import trio
import trio.lowlevel
import trio.testing

from kernel.panic import KernelPanic
from kernel.truth import FILE, Truth
from syscalls.errors import IOFailed


class FailingFile(apsw.VFSFile):
    """A file on a disk that can fill up."""

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - apsw's name
        if FailingDisk.full:
            raise apsw.FullError("no space")
        if FailingDisk.broken:
            raise apsw.IOError("unreadable sector")
        super().xWrite(data, offset)


class FailingDisk(apsw.VFS):
    """A disk that is full, or broken, when a test says so."""

    full: ClassVar[bool] = False
    broken: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__("failing", "", maxpathname=0)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - apsw's name
        return FailingFile("", name, flags)


@pytest.fixture
def disk() -> Iterator[type[FailingDisk]]:
    vfs = FailingDisk()
    yield FailingDisk
    FailingDisk.full = FailingDisk.broken = False
    vfs.unregister()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / FILE


async def names(truth: Truth) -> list[str]:
    return [name for name, _ in await truth.facts("f")]


async def test_what_was_committed_is_there_after_the_kernel_is_gone(file: Path) -> None:
    truth = Truth.open(file)
    await truth.set_fact("f", "a", b"1")
    await truth.set_fact("f", "b", b"2")
    await truth.set_fact("f", "a", b"3")
    await truth.set_fact("f", "b", None)
    truth.close()
    again = Truth.open(file)
    assert await again.facts("f") == [("a", b"3")]
    again.close()


async def test_an_acknowledged_commit_survives_a_kill(file: Path) -> None:
    program = (
        "import os, signal, sys, trio\nfrom pathlib import Path\nfrom kernel.truth import Truth\n"
        "async def main():\n"
        "    truth = Truth.open(Path(sys.argv[1]))\n"
        "    for n in range(20):\n"
        "        await truth.set_fact('f', f'{n:03}', b'x')\n"
        "        print(n, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "trio.run(main)\n"
    )
    done = await trio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, check=False)
    )
    assert done.returncode == -9, done.stderr
    truth = Truth.open(file)
    assert await names(truth) == [f"{n:03}" for n in range(20)]
    truth.close()


async def test_many_writers_share_a_transaction(file: Path) -> None:
    truth = Truth.open(file)
    async with trio.open_nursery() as nursery:
        for n in range(300):
            nursery.start_soon(truth.set_fact, "f", f"{n:03}", b"x")
    assert len(await names(truth)) == 300
    assert truth.groups < 150
    truth.close()


async def test_one_that_fails_does_not_take_its_group_along(file: Path) -> None:
    truth = Truth.open(file)
    outcomes: list[str] = []

    async def good(n: int) -> None:
        await truth.set_fact("f", f"{n}", b"x")
        outcomes.append("good")

    async def bad() -> None:
        with pytest.raises(KernelPanic, match="no_such_table"):
            await truth.commit(lambda db: db.execute("INSERT INTO no_such_table VALUES (1)").get)
        outcomes.append("bad")

    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(good, n)
        nursery.start_soon(bad)
        for n in range(5, 9):
            nursery.start_soon(good, n)
    assert sorted(outcomes) == ["bad"] + ["good"] * 9
    assert len(await names(truth)) == 9
    truth.close()


async def test_a_transaction_is_all_or_nothing(file: Path) -> None:
    truth = Truth.open(file)

    def halfway(db: apsw.Connection) -> None:
        db.execute("INSERT INTO facts VALUES ('f', 'half', x'00')")
        raise ValueError("changed my mind")

    with pytest.raises(ValueError, match="changed"):
        await truth.commit(halfway)
    assert await names(truth) == []
    truth.close()


@pytest.mark.parametrize("how", ["full", "broken"])
async def test_a_disk_that_fails_costs_the_call_and_nothing_else(file: Path, disk: type[FailingDisk], how: str) -> None:
    truth = Truth.open(file, vfs="failing")
    await truth.set_fact("f", "before", b"x")
    setattr(disk, how, True)
    said = rf"the disk that holds {file} is full .*: free some space" if how == "full" else "cannot be read or written"
    failures = 0
    async with trio.open_nursery() as nursery:

        async def fail(n: int) -> None:
            nonlocal failures
            with pytest.raises(IOFailed, match=said):
                await truth.set_fact("f", f"lost{n}", b"x" * 10000)
            failures += 1

        for n in range(4):
            nursery.start_soon(fail, n)
    assert failures == 4
    setattr(disk, how, False)
    await truth.set_fact("f", "after", b"x")
    assert await names(truth) == ["after", "before"]
    truth.close()


async def test_a_process_limit_on_file_sizes_is_a_full_disk_too(file: Path) -> None:
    """A real one: the operating system refuses the write."""
    program = (
        "import resource, signal, sys, trio\nfrom pathlib import Path\nfrom kernel.truth import Truth\n"
        "from syscalls.errors import IOFailed\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "async def main():\n"
        "    truth = Truth.open(Path(sys.argv[1]))\n"
        "    await truth.set_fact('f', 'before', b'x')\n"
        "    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))\n"
        "    try:\n"
        "        await truth.set_fact('f', 'large', bytes(1_000_000))\n"
        "    except IOFailed as failed:\n"
        "        print(failed)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
        "    await truth.set_fact('f', 'after', b'x')\n"
        "    print([name for name, _ in await truth.facts('f')])\n"
        "    truth.close()\n"
        "trio.run(main)\n"
    )
    done = await trio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("EIO: ")
    assert done.stdout.endswith("['after', 'before']\n")


async def test_a_folder_has_one_kernel(file: Path) -> None:
    program = (
        "import sys, trio\nfrom pathlib import Path\nfrom kernel.truth import Truth\n"
        "async def main():\n"
        "    Truth.open(Path(sys.argv[1]))\n"
        "try:\n    trio.run(main)\nexcept Exception as bad:\n    print(bad)\n"
    )
    truth = Truth.open(file)
    done = await trio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False)
    )
    assert done.stdout.startswith(f"EBUSY: {file.parent} is in use by another kernel (pid {os.getpid()})")
    truth.close()


def test_a_file_that_is_no_database_is_said_to_be_none(file: Path) -> None:
    file.write_bytes(b"this is no database at all. " * 100)
    with pytest.raises(IOFailed, match="is no kernos database, or it is damaged"):
        Truth.open(file)


def test_a_newer_schema_is_refused(file: Path) -> None:
    Truth.open(file).close()
    connection = apsw.Connection(str(file))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(IOFailed, match=r"newer kernos \(schema 99"):
        Truth.open(file)


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(IOFailed, match="--state"):
        Truth.open(tmp_path / "file" / "state" / FILE)


async def test_after_the_end_nothing_is_taken(file: Path) -> None:
    truth = Truth.open(file)
    truth.close()
    truth.close()
    with pytest.raises(IOFailed, match="stopping"):
        await truth.set_fact("f", "late", b"x")


async def test_a_commit_that_has_begun_is_not_cut_by_a_cancellation(file: Path) -> None:
    truth = Truth.open(file)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                await truth.set_fact("f", "a", b"x")

            nursery.start_soon(write)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            scope.cancel()
    found = await names(truth)
    assert found in ([], ["a"])
    truth.close()
    again = Truth.open(file)
    assert await names(again) == found
    again.close()


async def test_in_memory_there_are_no_threads() -> None:
    truth = Truth.in_memory()
    await truth.set_fact("f", "a", b"x")
    assert await names(truth) == ["a"]
    assert truth._thread is None
    truth.close()

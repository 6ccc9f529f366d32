"""What a jail wrote, from what its processes are seen to have written; and what a folder takes."""

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as some

from kernel.workers import disk, room
from kernel.workers.disk import MEASURING_SHARE, PERIOD_S, DiskWatch, Writer, Written, held_bytes, written_bytes
from kernel.workers.room import ENTRY_BYTES, changed_bytes, ground_of, mounts_below

MB = 1_000_000
NOBODY = 54321


def test_a_moment_in_which_one_is_missing_is_not_counted_twice() -> None:
    written = Written()
    assert [written.seen(sum_) for sum_ in (5, 9, 4, 9, 12)] == [5, 9, 9, 9, 12]


def test_what_is_gone_with_its_writer_stays_counted() -> None:
    written = Written()
    assert [written.seen(sum_) for sum_ in (5, 9, 4, 4, 6)] == [5, 9, 9, 9, 11]


async def test_who_cannot_be_looked_at_for_want_of_a_descriptor_is_not_gone(tmp_path: Path) -> None:
    """Else all that it wrote would count once more when it is seen again."""
    watch, over = DiskWatch(), list[str]()
    (tmp_path / "file").write_bytes(bytes(MB))
    watch.watch(writer := Writer(pid=os.getpid(), most=2**60, over=over.append))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        for most in (soft, 3, soft):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            await trio.sleep(4 * PERIOD_S)
        nursery.cancel_scope.cancel()
    assert writer.written.before >= MB and writer.written.gone == 0


@given(some.lists(some.integers(0, 100)))
def test_it_never_falls_and_is_never_less_than_what_is_seen(sums: list[int]) -> None:
    written = Written()
    totals = [written.seen(sum_) for sum_ in sums]
    assert totals == sorted(totals)
    assert all(total >= sum_ for total, sum_ in zip(totals, sums, strict=True))


def test_a_child_that_was_waited_for_is_counted_with_its_parent(tmp_path: Path) -> None:
    before = written_bytes(os.getpid())
    program = "import sys; open(sys.argv[1], 'wb').write(bytes(1_000_000))"
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "file")], check=True)
    assert written_bytes(os.getpid()) - before >= MB
    assert written_bytes(2**22 + 1) == 0, "there is no such process"


def changed(folder: Path, since_ns: int = 0) -> int:
    return changed_bytes((str(folder),), since_ns, [os.getpid()])


def test_what_is_reserved_and_files_without_number_take_room(tmp_path: Path) -> None:
    nothing = changed(tmp_path)
    for number in range(100):
        (tmp_path / f"empty-{number}").touch()
    assert 100 * ENTRY_BYTES <= changed(tmp_path) - nothing < MB
    with (tmp_path / "reserved").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 3 * MB)
        os.link(tmp_path / "reserved", tmp_path / "again")
        assert 3 * MB <= changed(tmp_path) - nothing < 4 * MB
        assert 3 * MB <= changed(tmp_path / "reserved") < 4 * MB, "a file may be granted by itself"
        (tmp_path / "reserved").unlink()
        (tmp_path / "again").unlink()
        assert 3 * MB <= changed(tmp_path) - nothing < 4 * MB, "it is open"
    assert changed(tmp_path) - nothing < MB


def test_a_folder_that_has_grown_by_names_alone_is_counted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nothing = changed(tmp_path)
    for number in range(1000):
        os.link(tmp_path / "file", tmp_path / f"{number:0250}")
    assert changed(tmp_path) - nothing > 100 * ENTRY_BYTES


@pytest.mark.parametrize(("name", "depth", "hidden"), [("n" * 250, 17, True), ("n", 1500, False)])
def test_folders_in_folders_hide_nothing_and_break_nothing(tmp_path: Path, name: str, depth: int, hidden: bool) -> None:
    """Deeper than a path is long; and deeper than Python would call itself."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        above, fd = fd, os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(above)
    os.close(fd)
    try:
        assert (changed(tmp_path) > 2**40) is hidden
        assert changed(tmp_path) >= depth * ENTRY_BYTES
    finally:
        subprocess.run(["rm", "-r", tmp_path / name], check=True)


@contextmanager
def as_a_user() -> Iterator[None]:
    """Without what root may do, where it is root who runs this."""
    ours = os.geteuid()
    os.seteuid(ours or NOBODY)
    try:
        yield
    finally:
        os.seteuid(ours)


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o400])
def test_a_folder_that_its_owner_has_closed_hides_nothing(mode: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o777)  # the user is somebody else
        with as_a_user():
            closed = Path(made) / "closed"
            closed.mkdir()
            (closed / "file").write_bytes(bytes(3 * MB))
            closed.chmod(mode)
            try:
                assert changed(Path(made)) >= 3 * MB
            finally:
                closed.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a folder that is another's")
def test_what_others_have_closed_is_not_the_worker_s() -> None:
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o755)  # the user is somebody else
        (Path(made) / "closed").mkdir(0o700)
        with as_a_user():
            assert changed(Path(made)) < MB


def test_what_was_there_before_is_not_counted(tmp_path: Path) -> None:
    nothing = changed(tmp_path)
    (tmp_path / "old").write_bytes(bytes(MB))
    since_ns = (tmp_path / "old").stat().st_ctime_ns + 1
    assert changed(tmp_path, since_ns) <= nothing
    assert changed(tmp_path / "none") <= nothing


def test_a_file_system_that_is_mounted_in_a_folder_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "/proc" in mounts_below(("/",)) and not mounts_below((str(tmp_path),))
    rooms = {str(tmp_path): 9 * MB, f"{tmp_path}/mounted": 9 * MB}
    monkeypatch.setattr(room, "mounts_below", lambda _: (f"{tmp_path}/mounted",))
    monkeypatch.setattr(room, "room_bytes", rooms.__getitem__)
    writer = Writer(pid=os.getpid(), most=MB, over=print, ground=ground_of((str(tmp_path),)))
    assert held_bytes(writer) == 0
    (tmp_path / "file").write_bytes(bytes(2 * MB))
    rooms[f"{tmp_path}/mounted"] = 7 * MB
    assert held_bytes(writer) >= 2 * MB


async def test_many_processes_leave_the_kernel_most_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[float]()

    def many(pid: int, most: int) -> list[int]:
        looks.append(time.monotonic())
        time.sleep(PERIOD_S)
        return [pid]

    monkeypatch.setattr(disk, "below", many)
    watch, over = DiskWatch(), list[str]()
    watch.watch(Writer(pid=os.getpid(), most=2**60, over=over.append))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep((4 + 2 * MEASURING_SHARE) * PERIOD_S)
        nursery.cancel_scope.cancel()
    apart = [after - before for before, after in pairwise(looks)]
    assert apart and min(apart) >= MEASURING_SHARE * PERIOD_S


async def test_a_file_system_that_does_not_answer_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = trio.Event(), threading.Event()

    def answer(_: str) -> int:
        trio.from_thread.run_sync(asked.set)  # raises RuntimeError if this thread is the one that would be held up
        answers.wait()
        return 0

    watch, over = DiskWatch(), list[str]()
    watch.watch(Writer(pid=os.getpid(), most=2**60, over=over.append, ground=ground_of((str(tmp_path),))))
    monkeypatch.setattr(room, "room_bytes", answer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await asked.wait()
        nursery.cancel_scope.cancel()
    answers.set()
    assert not over

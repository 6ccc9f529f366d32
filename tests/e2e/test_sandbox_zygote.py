"""How workers are made, live and end: the zygote, the kernel's death, descriptors, limits, failures.

Broken by: workers that are children of the zygote and not of the kernel, a death signal set before the
credentials change, a descriptor or a payload that one worker's fork leaves to the next, a layer's failure
that is swallowed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import secrets
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from sandbox.ending import Exit
from sandbox.errors import JailError, ZygoteGone
from sandbox.interpreter import guest_binds
from sandbox.limits import PAYLOAD_BYTES_MAX, UID_BASE
from sandbox.spec import LAYERS, Bind, Limits, ZygoteSpec
from sandbox.worker import Worker, reap
from sandbox.zygote import Zygote
from tests.e2e.sandbox_guests.host import (
    GUESTS_BIND,
    Guest,
    attempt_unsandboxed,
    open_guest,
    open_zygote,
    run_to_end,
    worker_spec,
    zygote_spec,
)

REPOSITORY = Path(__file__).parents[2]


async def test_a_guest_answers_and_ends_with_its_status() -> None:
    async with open_zygote() as zygote:
        payload = "all that fits: ".ljust(PAYLOAD_BYTES_MAX, "x")
        worker = await zygote.spawn(worker_spec(payload=payload.encode()))
        guest = Guest(worker)
        assert await guest.next_line() == {"payload": payload}
        await guest.stream.aclose()
        assert await reap(worker) == Exit(code=0)
        os.close(worker.output)
        assert (await run_to_end(zygote, worker_spec("hostile:leave", payload=b"42")))[0] == Exit(code=42)


async def test_every_layer_is_reported() -> None:
    async with open_zygote() as zygote, open_guest(zygote) as guest:
        after_clone = LAYERS[LAYERS.index("uid") :]
        assert {*after_clone, "uts"} <= guest.worker.layers_us.keys()


async def test_the_kernel_is_the_parent_of_workers() -> None:
    async with open_zygote() as zygote, open_guest(zygote) as guest:
        status = _status(guest.worker)
        assert f"PPid:\t{os.getpid()}\n" in status
        assert "CapBnd:\t0000000000000000\n" in status
        assert "CapEff:\t0000000000000000\n" in status
        assert "NoNewPrivs:\t1\n" in status
        assert "Seccomp:\t2\n" in status


def _status(worker: Worker) -> str:
    return Path(f"/proc/{worker.pid}/status").read_text()


async def test_workers_have_their_own_uid_under_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give away uids")
    groups = os.getgroups()
    os.setgroups([54321])  # which a worker must not keep
    try:
        await _check_ids()
    finally:
        os.setgroups(groups)


async def _check_ids() -> None:
    async with open_zygote() as zygote, open_guest(zygote) as one, open_guest(zygote) as other:
        for guest in (one, other):
            uid = str(UID_BASE + guest.worker.pid)
            status = _status(guest.worker)
            assert "Uid:\t" + "\t".join([uid] * 4) + "\n" in status
            assert "Gid:\t" + "\t".join([uid] * 4) + "\n" in status
            assert "Groups:\t \n" in status


async def test_inside_there_is_nothing_of_the_host() -> None:
    async with open_zygote() as zygote, open_guest(zygote) as guest:
        inside = (await guest.attempt("identity"))["value"]
        assert inside["pid"] == 1
        assert inside["ppid"] == 0
        assert inside["host"] == "kernos"
        assert inside["cwd"] == "/"
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        whole = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_CTYPE": "C.UTF-8", **threads}
        assert inside["environment"].items() <= whole.items()
        assert inside["path"] == list(zygote_spec().path)
        top = (await guest.attempt("list_folder", path="/"))["value"]
        assert not {"etc", "proc", "sys", "dev", "usr", "var"} & set(top)
        ours = (await guest.attempt("list_folder", path=str(REPOSITORY)))["value"]
        assert "sandbox" not in ours
        assert ".git" not in ours
        assert "pyproject.toml" not in ours


async def test_a_guest_sees_its_socket_and_standard_descriptors_only() -> None:
    repeated = worker_spec(binds=guest_binds()[:1])  # taken twice, mounted once
    async with open_zygote() as zygote, open_guest(zygote) as first, open_guest(zygote, repeated) as second:
        for guest in (first, second):
            assert (await guest.attempt("descriptors"))["value"] == [0, 1, 2, 3]
    assert set(attempt_unsandboxed("descriptors")["value"]) >= {0, 1, 2}


async def test_the_host_keeps_no_descriptor() -> None:
    async with open_zygote() as zygote:
        await run_to_end(zygote, worker_spec("hostile:leave", payload=b"0"))
        before = sorted(os.listdir("/proc/self/fd"))
        for _ in range(3):
            await run_to_end(zygote, worker_spec("hostile:leave", payload=b"0"))
        with pytest.raises(JailError):
            await zygote.spawn(worker_spec(binds=(Bind("/nowhere", "/nowhere"),)))
        assert sorted(os.listdir("/proc/self/fd")) == before
        await _settled(zygote)
        zygote_fds = os.listdir(f"/proc/{zygote.pid}/fd")
        assert len(zygote_fds) == 5  # three standard ones, the control socket, what its child in reserve listens to


async def test_every_zygote_hashes_alike() -> None:
    """What a durable program computes must not depend on which zygote it came from."""
    hashes = []
    for _ in range(2):
        async with open_zygote() as zygote, open_guest(zygote) as guest:
            hashes.append((await guest.attempt("identity"))["value"]["hash"])
    assert hashes[0] == hashes[1]


def _memory_of(pid: int) -> bytes:
    """Everything that a process could write to and so may remember."""
    parts = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, mode = line.split()[:2]
            if not mode.startswith("rw") or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            parts.append(memory.read(end - start))
    return b"".join(parts)


async def test_what_a_worker_is_told_is_not_left_for_the_next(tmp_path: Path) -> None:
    """A worker inherits its zygote's memory; no other worker's payload or folders may be in there."""
    payload, folder = secrets.token_hex(16), secrets.token_hex(16)
    (tmp_path / folder).mkdir()
    async with open_zygote() as zygote:
        spec = worker_spec(payload=payload.encode(), binds=(Bind(str(tmp_path / folder), f"/{folder}"),))
        async with open_guest(zygote, spec) as guest:
            assert await guest.next_line() == {"payload": payload}
            remembered = _memory_of(zygote.pid)
            assert payload.encode() in _memory_of(guest.worker.pid)  # the search does find
    assert b"sandbox.nursery" in remembered
    assert payload.encode() not in remembered
    assert folder.encode() not in remembered


async def test_no_descriptors_left_is_an_error_of_that_spawn() -> None:
    async with open_zygote() as zygote:
        taken = []
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        try:
            while True:
                try:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    break
            with pytest.raises(JailError, match="no descriptors"):
                await zygote.spawn(worker_spec())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in taken:
                os.close(fd)
        async with open_guest(zygote) as guest:
            assert "value" in await guest.attempt("identity")


async def test_a_worker_that_no_descriptor_is_left_for_is_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may have taken the last one while it was made."""
    open_, refused = os.pidfd_open, list[int]()

    def none_left(pid: int) -> int:
        if refused:
            return open_(pid)
        refused.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    async with open_zygote() as zygote:
        monkeypatch.setattr(os, "pidfd_open", none_left)
        with pytest.raises(JailError, match="no descriptors"):
            await zygote.spawn(worker_spec())
        async with open_guest(zygote):
            assert not Path(f"/proc/{refused[0]}").exists()


async def test_a_cancelled_spawn_still_hands_over_its_worker() -> None:
    async with open_zygote() as zygote:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel, scope)
                worker = await zygote.spawn(worker_spec())
        worker.sock.close()
        assert await reap(worker) == Exit(code=0)
        os.close(worker.output)


async def _cancel(scope: trio.CancelScope) -> None:
    scope.cancel()


async def test_lazy_imports_work_inside() -> None:
    async with open_zygote() as zygote, open_guest(zygote) as guest:
        answer = await guest.attempt("lazy_imports")
        assert answer == {"value": ["0.3", "text/plain", "2d711642", "round", 2]}


async def test_a_trio_loop_runs_inside() -> None:
    async with open_zygote("trio") as zygote:
        worker = await zygote.spawn(worker_spec("looping:main"))
        async with trio.SocketStream(trio.socket.from_stdlib_socket(worker.sock)) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"HELLO"
        assert await reap(worker) == Exit(code=0)
        assert os.read(worker.output, 1000) == b""
        os.close(worker.output)


async def test_trio_can_be_imported_inside_too() -> None:
    async with open_zygote() as zygote:  # nothing preloaded: everything is read in the jail
        worker = await zygote.spawn(worker_spec("looping:main"))
        async with trio.SocketStream(trio.socket.from_stdlib_socket(worker.sock)) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"HELLO"
        assert await reap(worker) == Exit(code=0)
        os.close(worker.output)


async def test_a_zygote_carries_nothing_that_it_was_not_told_to_load() -> None:
    async with open_zygote() as zygote, open_guest(zygote) as guest:
        loaded = set((await guest.attempt("loaded_modules"))["value"])
    assert not {"trio", "pyseccomp", "subprocess", "sandbox.zygote", "sandbox.filter", "kernel"} & loaded


async def test_threads_only_in_their_tier() -> None:
    async with open_zygote() as zygote:
        async with open_guest(zygote, worker_spec(tier="threads")) as guest:
            assert await guest.attempt("make_thread") == {"value": 42}
            assert (await guest.attempt("fork"))["errno"] == 1
        async with open_guest(zygote, worker_spec(tier="pure")) as guest:
            assert "value" not in await guest.attempt("make_thread")


async def test_output_of_a_guest_is_seen() -> None:
    async with open_zygote() as zygote:
        ended, output = await run_to_end(zygote, worker_spec("hostile:raise_error"))
        assert ended == Exit(code=1)
        assert "to descriptor 1" in output
        assert "to stdout" in output
        assert "LookupError: a bug in the program" in output


async def test_an_entry_that_is_not_there_is_said_in_the_output() -> None:
    async with open_zygote() as zygote:
        ended, output = await run_to_end(zygote, worker_spec("no_such_module:main"))
        assert ended == Exit(code=1)
        assert "No module named 'no_such_module'" in output
        ended, output = await run_to_end(zygote, worker_spec("hostile:no_such_function"))
        assert ended == Exit(code=1)
        assert "no_such_function" in output


async def test_forks_do_not_share_random_numbers() -> None:
    async with open_zygote("random") as zygote, open_guest(zygote) as one, open_guest(zygote) as other:
        numbers = [(await guest.attempt("random_numbers"))["value"] for guest in (one, other)]
        assert numbers[0] != numbers[1]


async def test_a_dead_zygote_is_noticed_by_nobody_but_the_next_spawn() -> None:
    async with open_zygote() as zygote, open_guest(zygote) as one, open_guest(zygote) as other:
        os.kill(zygote.pid, signal.SIGKILL)
        with pytest.raises(ZygoteGone):
            await zygote.spawn(worker_spec())
        for guest in (one, other):
            assert "value" in await guest.attempt("identity")
        async with open_zygote() as successor, open_guest(successor) as third:
            assert "value" in await third.attempt("identity")
        assert "value" in await one.attempt("identity")


async def test_a_zygote_killed_under_load_loses_no_process() -> None:
    """Every spawn under way returns a live worker or raises ZygoteGone; no child is left over."""
    zygote = await Zygote.start(zygote_spec())
    made: list[Worker] = []
    lost = 0

    async def spawn() -> None:
        nonlocal lost
        try:
            made.append(await zygote.spawn(worker_spec()))
        except ZygoteGone:
            lost += 1
        if len(made) == 3:
            os.kill(zygote.pid, signal.SIGKILL)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(spawn)
    await zygote.aclose()
    assert len(made) + lost == 20
    assert lost > 0
    for worker in made:
        guest = Guest(worker)
        assert "value" in await guest.attempt("identity")
        await guest.stream.aclose()
        assert await reap(worker) == Exit(code=0)
        os.close(worker.output)
    assert not _children()


async def test_workers_killed_while_they_are_made_are_reaped(seed: int = 7) -> None:
    """Every spawn returns a worker or says that it was killed; the zygote serves on; no child is left over."""
    chance = random.Random(seed)
    outcomes: list[Worker | JailError] = []

    async def spawn(zygote: Zygote) -> None:
        try:
            outcomes.append(await zygote.spawn(worker_spec()))
        except JailError as error:
            outcomes.append(error)

    async with open_zygote() as zygote:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(spawn, zygote)
            while len(outcomes) < 20:
                for pid in _children() - {zygote.pid}:
                    if chance.random() < 0.5:
                        os.kill(pid, signal.SIGKILL)
                await trio.lowlevel.checkpoint()
        killed = [outcome for outcome in outcomes if isinstance(outcome, JailError)]
        said = {str(error).removeprefix("clone: the worker was killed ") for error in killed}
        assert said <= {"by signal 9 while it was being set up", "before it was one"}
        assert killed
        for outcome in outcomes:
            if isinstance(outcome, Worker):
                outcome.sock.close()
                await reap(outcome)
                os.close(outcome.output)
        with contextlib.suppress(JailError):  # the last one to be killed may have been given out while it died
            await run_to_end(zygote, worker_spec("hostile:leave", payload=b"0"))
        async with open_guest(zygote) as guest:
            assert "value" in await guest.attempt("identity")
        assert len(await _settled(zygote)) == 1


async def test_a_zygote_that_is_stuck_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_zygote() as zygote:
        monkeypatch.setattr("sandbox.zygote.SETUP_S_MAX", 0.2)
        os.kill(zygote.pid, signal.SIGSTOP)
        with pytest.raises(JailError, match="not confined within"):
            await zygote.spawn(worker_spec())
        with pytest.raises(ZygoteGone):
            await zygote.spawn(worker_spec())
    assert not _children()


async def test_a_zygote_can_be_closed_twice_and_when_dead() -> None:
    zygote = await Zygote.start(zygote_spec())
    os.kill(zygote.pid, signal.SIGKILL)
    await zygote.aclose()
    await zygote.aclose()
    with pytest.raises(ZygoteGone):
        await zygote.spawn(worker_spec())
    assert not _children()


async def test_twenty_at_once() -> None:
    async with open_zygote() as zygote:
        answers: list[int] = []

        async def use_one() -> None:
            async with open_guest(zygote) as guest:
                answers.append((await guest.attempt("identity"))["value"]["pid"])

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(use_one)
        assert answers == [1] * 20


async def test_a_missing_bind_is_an_error_and_the_zygote_goes_on() -> None:
    async with open_zygote() as zygote:
        with pytest.raises(JailError, match="cannot bind /no/such/folder: No such file") as caught:
            await zygote.spawn(worker_spec(binds=(Bind("/no/such/folder", "/x"),)))
        assert caught.value.layer == "root"
        async with open_guest(zygote) as guest:
            assert "value" in await guest.attempt("identity")


async def test_a_layer_that_fails_names_itself(tmp_path: Path) -> None:
    """The skeleton of the root is small; a bind that needs a thousand folders does not fit it."""
    deep = "/" + "/".join(str(n) for n in range(1900))
    async with open_zygote() as zygote:
        specs = worker_spec(binds=tuple(Bind(str(tmp_path), f"/{n}{deep}") for n in range(2)))
        with pytest.raises(JailError) as caught:
            await zygote.spawn(specs)
        assert caught.value.layer == "root"
        assert len(await _settled(zygote)) == 1


async def _settled(zygote: Zygote) -> set[int]:
    """Its child in reserve, once it has one and waits; all other children of ours but itself would be left over."""
    with trio.fail_after(10):
        # What goes on in another process sets no event.
        while not (others := _children() - {zygote.pid}) or _state(zygote.pid) != "S":  # noqa: ASYNC110
            await trio.sleep(0.01)
    return others


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _children() -> set[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in lists for pid in path.read_text().split()}


async def test_a_zygote_that_cannot_start_says_why() -> None:
    spec = zygote_spec("no_such_preload")
    with pytest.raises(JailError, match="No module named 'no_such_preload'"):
        await Zygote.start(spec)
    with pytest.raises(JailError, match="cannot execute /no/python"):
        await Zygote.start(ZygoteSpec(python="/no/python", path=spec.path))
    with pytest.raises(JailError, match="msgspec"):
        await Zygote.start(ZygoteSpec(python=sys.executable, path=()))


async def test_files_of_root_are_read_by_the_workers_uid(tmp_path: Path) -> None:
    """A private folder is bound all the same: owners are mapped (tmp_path itself is 0700)."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "program").write_text("code")
    (private / "program").chmod(0o600)
    async with (
        open_zygote() as zygote,
        open_guest(zygote, worker_spec(binds=(Bind(str(private), "/program"),))) as guest,
    ):
        assert await guest.attempt("read_file", path="/program/program") == {"value": "code"}


async def test_one_file_can_be_bound(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("this")
    (tmp_path / "other").write_text("not this")
    spec = worker_spec(binds=(Bind(str(tmp_path / "one"), "/given/one"),))
    async with open_zygote() as zygote, open_guest(zygote, spec) as guest:
        assert await guest.attempt("read_file", path="/given/one") == {"value": "this"}
        assert (await guest.attempt("list_folder", path="/given"))["value"] == ["one"]


async def test_cpu_and_memory_are_limited() -> None:
    async with open_zygote() as zygote:
        ended, _ = await run_to_end(zygote, worker_spec("hostile:spin", limits=Limits(cpu_s=1)))
        assert ended == Exit(signal=signal.SIGKILL)
        limits = Limits(memory_bytes=256 * 1024 * 1024)
        ended, _ = await run_to_end(zygote, worker_spec("hostile:eat_memory", limits=limits))
        assert ended.code is not None
        assert 0 < ended.code <= 16


async def test_abort_ends_a_worker() -> None:
    """abort() needs tgkill on oneself, and pid 1 of a namespace ignores the signal: it must end all the same."""
    async with open_zygote() as zygote:
        ended, _ = await run_to_end(zygote, worker_spec("hostile:abort"))
        assert ended.signal in (signal.SIGABRT, signal.SIGSEGV)


def test_workers_die_with_the_kernel() -> None:
    """A kernel of its own is killed; its workers and its zygote are gone within a second."""
    program = str(REPOSITORY / "tests" / "e2e" / "sandbox_guests" / "short_lived_kernel.py")
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        pidfds = [os.pidfd_open(pid) for pid in pids]
        process.kill()
    gone = [bool(select.select([pidfd], [], [], 1)[0]) for pidfd in pidfds]
    for pidfd, is_gone in zip(pidfds, gone, strict=True):
        if not is_gone:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
    assert gone == [True] * 4


async def test_the_sandboxs_own_bind_is_not_in_the_jail() -> None:
    async with open_zygote() as zygote, open_guest(zygote) as guest:
        path = str(REPOSITORY / "sandbox" / "zygote.py")
        assert "value" not in await guest.attempt("read_file", path=path)
        assert "value" in await guest.attempt("read_file", path=f"{GUESTS_BIND.target}/hostile.py")

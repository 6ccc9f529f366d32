"""Pipes between processes: order, room, the end, and whose an end is."""

from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from kernel.accounts.account import Accounts
from kernel.clock import Clock
from kernel.messages.pipe import Pipe, Pipes
from kernel.process import Process
from kernel.process_table import ProcessTable
from kernel.watch.trace import Trace
from kernos import Sys, SyscallError, program
from kernos.testing import up
from syscalls.errors import Errno


@program
async def writes(sys: Sys, pipe: int, pieces: list[bytes]) -> int:
    async with await sys.pipe(pipe) as out:
        for piece in pieces:
            await out.write(piece)
    return sum(map(len, pieces))


@program
async def gathers(sys: Sys, pipe: int) -> bytes:
    data = b""
    async for piece in await sys.pipe(pipe):
        data += piece
    return data


@program
async def refused(sys: Sys, pipe: int, act: str) -> str:
    end = await sys.pipe(pipe)
    try:
        await (end.read() if act == "read" else end.write(b"x") if act == "write" else end.close())
    except SyscallError as error:
        return error.errno.name
    return "let in"


async def _given(machine: Any, program_: Any, end: str, pipe: Any, *args: Any, keep: bool = False) -> Any:
    """A child that is given an end before it uses it: it waits for its first call to be let in."""
    child = await machine.spawn(program_, pipe.id, *args)
    await pipe.give(end, child.pid, keep=keep)
    return child


async def test_what_goes_in_comes_out_and_then_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        pipe = await machine.sys.pipe(capacity_bytes=100)
        pieces = [bytes([n]) * (n * 37) for n in range(1, 12)]
        reader = await machine.spawn(gathers, pipe.id)
        await pipe.give("reader", reader.pid)
        for piece in pieces:
            await pipe.write(piece)
        await pipe.close("writer")
        assert await reader.wait() == b"".join(pieces)
        assert len(machine.machine.pipes) == 0


async def test_a_writer_waits_for_its_reader_and_hears_when_it_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        pipe = await machine.sys.pipe(capacity_bytes=10)
        with_errno: list[str] = []

        async def write() -> None:
            try:
                await pipe.write(b"y" * 1000)
            except SyscallError as error:
                with_errno.append(error.errno.name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not with_errno, "it waits"
            assert await pipe.read(4) == b"yyyy"
            await pipe.close("reader")
        assert with_errno == ["EPIPE"]


async def test_an_end_is_whose_it_is(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        pipe = await machine.sys.pipe()
        for act in ("read", "write", "close"):
            assert await machine.run(refused, pipe.id, act) == "ENOENT"
        assert await machine.run(refused, 99, "read") == "ENOENT"


async def test_a_process_that_ends_closes_what_it_has(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        pipe = await machine.sys.pipe()
        child = await machine.spawn(writes, pipe.id, [b"one", b"two"])
        await pipe.give("writer", child.pid)
        await child.wait()
        assert await pipe.read() + await pipe.read() == b"onetwo"


async def test_times_out(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        pipe = await machine.sys.pipe(capacity_bytes=1)
        try:
            await pipe.read(timeout_s=3)
            raise AssertionError("there was nothing to read")
        except TimeoutError as late:
            assert "3 s" in str(late)
        await pipe.write(b"a")
        try:
            await pipe.write(b"b", timeout_s=3)
            raise AssertionError("there was no room")
        except TimeoutError:
            pass


async def test_bad_arguments(autojump_clock: trio.testing.MockClock) -> None:
    async with up() as machine:
        for size in (0, -1, (1 << 20) + 1):
            try:
                await machine.sys.pipe(capacity_bytes=size)
                raise AssertionError(size)
            except SyscallError as error:
                assert error.errno is Errno.EINVAL
        pipes = [await machine.sys.pipe() for _ in range(machine.machine.config.bounds.pipes_max)]
        try:
            await machine.sys.pipe()
            raise AssertionError("one too many")
        except SyscallError as error:
            assert error.errno is Errno.EAGAIN
        await pipes[0].close()
        await machine.sys.pipe()


@given(st.integers(1, 64), st.lists(st.one_of(st.binary(max_size=100), st.integers(1, 100)), max_size=60))
def test_bytes_stay_in_order_and_within_capacity(capacity: int, steps: list[bytes | int]) -> None:
    """A pipe is a bounded queue of bytes: a write adds what there is room for, a read takes the oldest."""

    async def play() -> None:
        pipe, model, went_in = Pipe(1, capacity), b"", b""
        for step in steps:
            if isinstance(step, bytes):
                took = pipe.put(memoryview(step))
                assert took == min(len(step), capacity - len(model))
                model += step[:took]
                went_in += step[:took]
            else:
                got = pipe.take(step)
                assert got == model[:step]
                model = model[step:]
            assert pipe.size == len(model) <= capacity

    trio.run(play)


@given(
    st.lists(st.tuples(st.sampled_from(["make", "give", "keep", "close", "end"]), st.integers(0, 3), st.integers(0, 3)))
)
def test_no_pipe_outlives_its_ends(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is made, given, closed and ended: a pipe is there as long as somebody has an end of it."""

    async def play() -> None:
        processes, _ = _four()
        pipes = Pipes(pipes_max=3)
        made: list[int] = []
        for act, who, other in steps:
            process = processes[who]
            try:
                if act == "make":
                    made.append(pipes.make(process, 10).id)
                elif act == "end":
                    pipes.release(process)
                elif made and act == "close":
                    pipes.close(process, made[other % len(made)], None)
                elif made:
                    end: Any = "reader" if other % 2 else "writer"
                    pipes.give(process, made[who % len(made)], end, processes[other], keep=act == "keep")
            except SyscallError:
                pass
        for process in processes:
            pipes.release(process)
        assert len(pipes) == 0

    trio.run(play)


def _four() -> tuple[list[Process], ProcessTable]:
    clock = Clock()
    accounts = Accounts(clock.now)
    table = ProcessTable(clock=clock, trace=Trace(clock, 100), processes_max=100)
    root = accounts.open(None, name="root", principal="p")
    return [
        table.add(parent=None, principal="p", kind="session", name=str(n), account=root, rights=()) for n in range(4)
    ], table

"""What supervisors do, as the gate has it: rights, uses, counts and the trace, in a whole kernel in this process."""

import errno
from typing import Any

import pytest
import trio.testing
from msgspec import Raw

import kernos.testing
from kernel.workers.supervision import grants_of
from kernos import Sys, program
from kernos.testing.machine import InProcess
from syscalls import mediation as abi
from syscalls.calls.process import Budget
from syscalls.codec import pack
from syscalls.errors import Invalid
from syscalls.row import Args, Row
from syscalls.table import TABLE

pytestmark = pytest.mark.usefixtures("autojump_clock")


def deed(row: Row, args: Args, right: str = "", error: int = 0) -> abi.Deed:
    return abi.Deed(row.number, Raw(pack(args)), right, error)


async def with_process(machine: InProcess, body: Any, *rights: str, **options: Any) -> Any:
    """Runs `body(judge, process)` while a program with these rights waits."""

    @program
    async def waits(sys: Sys) -> None:
        await sys.receive()

    child = await machine.spawn(waits, rights=rights, **options)
    process = machine.machine.processes.get(child.pid)
    await trio.testing.wait_all_tasks_blocked()
    said = await body(machine.machine.executor.judge, process)
    await child.kill()
    return said


async def told(machine: InProcess) -> list[Any]:
    return [each for each in await machine.trace() if each.name.startswith("mediated.")]


def test_no_deed_has_the_number_or_the_name_of_a_call() -> None:
    assert not set(abi.ROWS) & set(TABLE)
    assert not {row.name for row in abi.ROWS.values()} & {row.name for row in TABLE.values()}


async def test_deeds_stand_in_the_trace_with_their_right_and_refusals_say_how_to_grant() -> None:
    async def body(judge: Any, process: Any) -> None:
        judge.note(process, deed(abi.OPEN, abi.File(path="/srv/a", read=True), "file:/srv/** read"))
        judge.note(process, deed(abi.LOOK, abi.File(path="/srv/b", read=True), "file:/srv/** read", errno.ENOENT))
        judge.note(process, deed(abi.OPEN, abi.File(path="/srv/a", write=True)))
        judge.note(
            process, deed(abi.CONNECT, abi.Connect(address="10.0.0.1", port=80, names=("a.test",), private=True))
        )

    async with kernos.testing.up() as machine:
        await with_process(machine, body, "file:/srv/** read")
        opened, looked, refused, connect = await told(machine)
    assert (opened.name, opened.errno, opened.right) == ("mediated.open", "", "file:/srv/** read")
    assert (looked.errno, looked.result) == ("ENOENT", "the machine said: ENOENT")
    assert refused.errno == "EPERM" and "lacks the right 'file:/srv/a write' for mediated.open" in refused.result
    assert "lacks the right 'net:tcp:a.test:80 connect,private'" in connect.result


async def test_who_is_asked_lets_in_by_right_and_counts() -> None:
    async def body(judge: Any, process: Any) -> list[str]:
        said = []
        for path in ("/srv/a", "/etc/b", "/srv/c", "/srv/d"):
            answer = await judge.judge(process, deed(abi.OPEN, abi.File(path=path, read=True)))
            said.append(answer.refused or answer.rights[0])
        return said

    async with kernos.testing.up() as machine:
        said = await with_process(machine, body, "file:/srv/** read", budget=Budget(calls=2))
    assert said == ["file:/srv/** read", "denied", "file:/srv/** read", "quota"]


async def test_a_name_is_looked_up_for_whom_may_connect_there() -> None:
    async def body(judge: Any, process: Any) -> list[Any]:
        answers = [
            await judge.judge(process, deed(abi.RESOLVE, abi.Resolve(host=host))) for host in ("a.test", "b.test")
        ]
        return [answer.refused or answer.addresses for answer in answers]

    pages = {"http://a.test/": "a", "http://b.test/": "b"}
    async with kernos.testing.up(web=pages) as machine:
        said = await with_process(machine, body, "net:tcp:a.test:80 connect")
    assert said == [("192.0.2.1",), "denied"]


async def test_each_deed_is_asked_for_where_each_is_counted() -> None:
    async def body(judge: Any, process: Any) -> abi.Grants:
        return grants_of(process)

    async with kernos.testing.up() as machine:
        free = await with_process(machine, body, "file:/srv/** read")
        asking = await with_process(machine, body, "file:/srv/** read", ask=True)
        limited = await with_process(machine, body, "file:/srv/** read", budget=Budget(calls=2))
    assert free == abi.Grants(("file:/srv/** read",), "never")
    assert (asking.ask, limited.ask) == ("missing", "all")


async def test_plain_files_and_a_shared_worker_do_not_go_together() -> None:
    @program(shared=True)
    async def nothing(sys: Sys) -> None:
        pass

    async with kernos.testing.up() as machine:
        with pytest.raises(Invalid, match="a worker to itself"):
            await machine.spawn(nothing, tier="files")


async def test_a_program_says_what_it_needs_of_the_machine() -> None:
    @program(tier="files")
    async def plain(sys: Sys) -> str:
        return (await sys.self()).tier

    @program
    async def parent(sys: Sys, tier: Any) -> Any:
        return await (await sys.spawn(plain, tier=tier)).wait()

    async with kernos.testing.up() as machine:
        machine.know(plain)
        assert await machine.run(plain) == "files"
        assert [await machine.run(parent, tier) for tier in (None, "threads")] == ["files", "threads"]

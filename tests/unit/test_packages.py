"""Folders of packages that are handed on with a spawn: by what right, to whom, and where a worker finds them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from kernel.sys.process import PACKAGES_MAX
from kernos import Sys, program
from kernos.testing import up
from kernos.testing.machine import InProcess
from syscalls.errors import Invalid, PermissionDenied
from userland.loading import see_packages
from userland.sdk.child import Child


@program(shared=True)
async def waits(sys: Sys) -> None:
    await sys.receive()


@program
async def hands_on(sys: Sys, packages: list[str] | None) -> str:
    """Starts a child and says how that went."""
    try:
        await sys.spawn("waits", packages=None if packages is None else tuple(packages), detach=True)
    except (PermissionDenied, Invalid) as refused:
        return refused.message
    return "started"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers without a jail put what they see on this process's own path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield


@pytest.fixture
def folder(tmp_path: Path) -> str:
    made = tmp_path.resolve() / "packages"
    made.mkdir()
    return str(made)


def seen_by(machine: InProcess, name: str = "waits") -> list[tuple[str, ...]]:
    return [process.packages for process in machine.machine.processes if process.name == name]


async def test_children_see_what_their_parent_sees(folder: str, autojump_clock: trio.testing.MockClock) -> None:
    async with up(programs={"waits": waits}) as machine:
        assert await machine.run(hands_on, None, packages=(folder,)) == "started"
        assert await machine.run(hands_on, [folder], packages=(folder,), rights=("program:*",)) == "started"
        assert await machine.run(hands_on, [], packages=(folder,)) == "started"
        assert seen_by(machine) == [(folder,), (folder,), ()]


async def test_a_folder_takes_the_right_to_read_it(folder: str, autojump_clock: trio.testing.MockClock) -> None:
    async with up(programs={"waits": waits}) as machine:
        for rights in (
            ("program:*",),
            ("program:*", f"file:{folder}/* read"),
            ("program:*", f"file:{folder}/** write"),
        ):
            said = await machine.run(hands_on, [folder], rights=rights)
            assert f"without 'file:{folder}/** read': grant it" in said
        gone = await machine.run(hands_on, [folder + "/gone"], rights=("program:*",))
        assert "without" in gone, "nobody is told what there is where they may not read"
        may = ("program:*", f"file:{folder}/** read")
        assert await machine.run(hands_on, [folder], rights=may) == "started"
        assert seen_by(machine) == [(folder,)]


@pytest.mark.parametrize(
    "wrong", ["relative", "/", "~/x", "/a/*", "{}/", "{}/gone", "{}/../packages", "{}/f", "{}/link"]
)
async def test_a_folder_is_named_where_it_really_lies(folder: str, wrong: str) -> None:
    (Path(folder) / "f").write_text("")
    (Path(folder) / "link").symlink_to("/etc")
    async with up() as machine:
        with pytest.raises(Invalid):
            await machine.spawn(waits, packages=(wrong.format(folder),))
        with pytest.raises(Invalid):
            await machine.sys.spawn_many("chat", [()], packages=(wrong.format(folder),))


async def test_there_is_a_bound(folder: str) -> None:
    async with up() as machine:
        await machine.spawn(waits, packages=(folder,) * PACKAGES_MAX)
        with pytest.raises(Invalid, match="at most"):
            await machine.spawn(waits, packages=(folder,) * (PACKAGES_MAX + 1))


async def test_those_who_see_other_packages_share_no_worker(
    folder: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with up() as machine:
        children: list[Child] = []
        for packages in ((), (folder,), (folder,)):
            children.append(await machine.spawn(waits, packages=packages))
        children += await machine.sys.spawn_many("waits", [()], shared=True, packages=(folder,))
        await trio.testing.wait_all_tasks_blocked()
        hosts = [machine.machine.processes.get(child.pid).host._worker for child in children]
        assert hosts[1] is hosts[2] is hosts[3] is not hosts[0]


def test_packages_come_behind_the_library_and_before_the_kernel_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/kernos", "/lib/python3", "/lib/python3/lib-dynload", "/lib/site-packages"])
    see_packages(("/a", "/b"))
    see_packages(("/b",))
    assert sys.path == ["/kernos", "/lib/python3", "/lib/python3/lib-dynload", "/a", "/b", "/lib/site-packages"]

"""The file family through a whole kernel in this process, on real files and links."""

import os
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import kernos.testing
from kernel.config import Bounds
from kernos import Sys, program
from kernos.testing.machine import InProcess
from syscalls.errors import Busy, Invalid, NoSuchProcess, NotFound, PermissionDenied, TryAgain
from syscalls.resources import Resource
from userland.sdk.child import ChildFailed

pytestmark = pytest.mark.usefixtures("autojump_clock")

BIG = bytes(range(256)) * 12_000


async def as_program(machine: InProcess, body: Any, *rights: str) -> Any:
    """Runs `body(sys)` as a program that holds these rights and nothing else."""

    @program
    async def probe(sys: Sys) -> Any:
        return await body(sys)

    return await machine.run(probe, rights=rights)


async def test_what_is_written_is_read(tmp_path: Path) -> None:
    async with kernos.testing.up() as machine:
        files = machine.sys.files
        path = f"{tmp_path}/a.txt"
        assert await files.write(path, "one\n") == 4
        assert await files.write(path, b"two\n", append=True) == 8
        assert await files.read_text(path) == "one\ntwo\n"
        assert await files.read(path, offset=4, count=3) == b"two"
        assert (await files.stat(path)).size == 8
        await files.mkdir(f"{tmp_path}/b/c", parents=True)
        await files.rename(path, f"{tmp_path}/b/c/d.txt")
        assert [(each.name, each.kind) for each in await files.list(f"{tmp_path}/b/c")] == [("d.txt", "file")]
        with pytest.raises(Busy, match="not empty"):
            await files.remove(f"{tmp_path}/b/c")
        await files.remove(f"{tmp_path}/b/c/d.txt")
        await files.remove(f"{tmp_path}/b/c")
        assert not await files.exists(f"{tmp_path}/b/c")


async def test_a_large_file_comes_in_pieces_and_whole(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    async with kernos.testing.up() as machine:
        assert await machine.sys.files.read(f"{tmp_path}/big") == BIG
        pieces = [len(piece) async for piece in machine.sys.files.stream(f"{tmp_path}/big", offset=10, count=100_000)]
        assert sum(pieces) == 100_000
        assert max(pieces) <= 48 * 1024
        await machine.sys.files.write(f"{tmp_path}/copy", BIG)
    assert (tmp_path / "copy").read_bytes() == BIG


async def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    async with kernos.testing.up() as machine:
        async with await machine.sys.files.open(str(path)) as reader:
            await machine.sys.files.write(str(path), "new and longer", sync=True)
            assert await reader.read() == b"old", "who has it open reads what it opened"
        assert await machine.sys.files.read(str(path)) == b"new and longer"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["a"], "nothing is left of the writing"


async def test_the_right_is_the_mount(tmp_path: Path) -> None:
    docs, other = tmp_path / "docs", tmp_path / "docs2"
    for folder in (docs, other):
        folder.mkdir()
        (folder / "a.txt").write_text(folder.name)

    async def body(sys: Sys) -> None:
        assert await sys.files.read_text(f"{docs}/a.txt") == "docs"
        assert [each.name for each in await sys.files.list(str(docs))] == ["a.txt"]
        with pytest.raises(PermissionDenied, match=rf"lacks the right 'file:{other}/a.txt read'"):
            await sys.files.read(f"{other}/a.txt")
        with pytest.raises(PermissionDenied, match=rf"--allow 'file:{docs}/a.txt write'"):
            await sys.files.write(f"{docs}/a.txt", "no")
        for crooked in (f"{docs}/../docs2/a.txt", f"{docs}/./a.txt", f"{docs}//a.txt", "docs/a.txt", "", "~x"):
            with pytest.raises(Invalid):
                await sys.files.read(crooked)
        with pytest.raises(Invalid):
            await sys.files.read(f"{docs}/a\0b")

    async with kernos.testing.up() as machine:
        await as_program(machine, body, f"file:{docs}/** read")
        assert (docs / "a.txt").read_text() == "docs"


async def test_links_are_followed_below_the_mount_and_nowhere_else(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "sub").mkdir(parents=True)
    (docs / "sub/a.txt").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (docs / "near").symlink_to("sub/a.txt")
    (docs / "far").symlink_to("../secret")
    (docs / "absolute").symlink_to(docs / "sub/a.txt")
    (docs / "up").symlink_to("..")
    (docs / "self").symlink_to("/proc/self/root")

    async def body(sys: Sys) -> None:
        assert await sys.files.read_text(f"{docs}/near") == "inside"
        for name in ("far", "absolute", "up/secret", "self/etc/hostname"):
            with pytest.raises(PermissionDenied, match=r"leads out|not followed"):
                await sys.files.read(f"{docs}/{name}")
            with pytest.raises(PermissionDenied, match=r"leads out|not followed"):
                await sys.files.write(f"{docs}/{name}", "x", append=True)
        for work in (sys.files.remove, sys.files.mkdir):
            with pytest.raises(PermissionDenied):
                await work(f"{docs}/up/secret")
        with pytest.raises(PermissionDenied):
            await sys.files.rename(f"{docs}/sub/a.txt", f"{docs}/up/stolen")
        with pytest.raises(PermissionDenied):
            await sys.files.list(f"{docs}/up")
        assert (await sys.files.stat(f"{docs}/far")).kind == "link"
        await sys.files.remove(f"{docs}/far")

    async with kernos.testing.up() as machine:
        await as_program(machine, body, f"file:{docs}/** read,write")
    assert (tmp_path / "secret").read_text() == "outside"


async def test_a_right_to_less_than_a_folder_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.key").write_text("secret")
    (tmp_path / "b.txt").symlink_to("b.key")

    async def body(sys: Sys) -> None:
        assert await sys.files.read_text(f"{tmp_path}/a.txt") == "a"
        with pytest.raises(PermissionDenied, match="link"):
            await sys.files.read(f"{tmp_path}/b.txt")

    async with kernos.testing.up() as machine:
        await as_program(machine, body, f"file:{tmp_path}/*.txt read")
        await as_program(machine, body, f"file:{tmp_path}/a.txt read", f"file:{tmp_path}/b.txt read")


async def test_a_mount_that_is_reached_by_a_link_is_refused_with_the_real_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("a")
    (tmp_path / "link").symlink_to("real")

    async def body(sys: Sys) -> None:
        with pytest.raises(PermissionDenied, match=f"name {tmp_path}/real"):
            await sys.files.read(f"{tmp_path}/link/a")

    async with kernos.testing.up() as machine:
        await as_program(machine, body, f"file:{tmp_path}/link/** read")


async def test_only_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    async with kernos.testing.up() as machine:
        files = machine.sys.files
        for name, why in (("pipe", "a device, a pipe"), ("folder", "a folder")):
            with pytest.raises(Invalid, match=why):
                await files.read(f"{tmp_path}/{name}")
            with pytest.raises(Invalid):
                await files.write(f"{tmp_path}/{name}", "x")
            with pytest.raises(Invalid, match=why):
                await files.write(f"{tmp_path}/{name}", "x", append=True)
        with pytest.raises(Invalid, match="a device, a pipe"):
            await files.read("/dev/zero")
        with pytest.raises(Invalid, match="too long"):
            await files.read(f"{tmp_path}/{'x' * 300}")
        with pytest.raises(Invalid, match="not a folder"):
            await files.read("/etc/hostname/x")


async def test_the_kernels_own_folder_is_out_of_reach_whatever_the_right() -> None:
    async with kernos.testing.up() as machine:
        state = machine.machine.config.state_folder
        await machine.sys.files.write("~/mine", "x")
        for path in (f"{state}/keys/test.key", f"{state}/files/test/mine"):
            with pytest.raises(PermissionDenied, match="belongs to the kernel"):
                await machine.sys.files.read(path)
        for work in (machine.sys.files.remove, machine.sys.files.list):
            with pytest.raises(PermissionDenied, match="belongs to the kernel"):
                await work(f"{state}/keys")


async def test_a_private_tree_is_the_principals_own(tmp_path: Path) -> None:
    async def writes(sys: Sys) -> None:
        await sys.files.mkdir("~/notes")
        await sys.files.write("~/notes/a", "mine")
        with pytest.raises(PermissionDenied, match="what the right names"):
            await sys.files.remove("~")
        with pytest.raises(Invalid, match="between the private tree"):
            await sys.files.rename("~/notes/a", f"{tmp_path}/a")

    async def reads(sys: Sys) -> None:
        assert await sys.files.read_text("~/notes/a") == "mine"
        with pytest.raises(PermissionDenied):
            await sys.files.read("~/b")

    async with kernos.testing.up() as machine:
        await as_program(machine, writes, "file:~/** write", f"file:{tmp_path}/** write")
        await as_program(machine, reads, "file:~/notes/** read")
        assert [each.name for each in await machine.sys.files.list("~")] == ["notes"]


async def test_what_a_private_tree_holds_is_counted_to_the_byte() -> None:
    async with kernos.testing.up() as machine:
        files = machine.sys.files
        account = machine.machine.processes.get(machine.sys.pid).account
        await files.write("~/a", b"x" * 1000)
        assert account.used[Resource.BYTES] == 1000
        await files.write("~/a", b"y" * 400)
        await files.write("~/a", b"z" * 50, append=True)
        assert account.used[Resource.BYTES] == 450
        async with await files.open("~/a", "write") as handle:
            await handle.write(b"w" * 100, 400)
            assert account.used[Resource.BYTES] == 500
            await handle.write(b"w" * 100, 0)
            assert account.used[Resource.BYTES] == 500
        await files.write("~/b", b"b" * 7)
        await files.rename("~/b", "~/a")
        assert account.used[Resource.BYTES] == 7
        await files.mkdir("~/d")
        with pytest.raises(Invalid):
            await files.write("~/d", b"no")
        assert account.used[Resource.BYTES] == 7, "what was held for a write that failed is given back"
        await files.remove("~/a")
        assert account.used[Resource.BYTES] == 0


async def test_handles_are_the_processes_own_and_bounded(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    async with kernos.testing.up(bounds=Bounds(open_files_max=2)) as machine:
        files = machine.sys.files
        first = await files.open(f"{tmp_path}/a")
        await files.open(f"{tmp_path}/a", "write")
        with pytest.raises(TryAgain, match="2 files open"):
            await files.open(f"{tmp_path}/a")
        await first.close()
        with pytest.raises(NoSuchProcess):
            await first.read()
        with pytest.raises(NoSuchProcess):
            await first.close()
        third = await files.open(f"{tmp_path}/a")
        with pytest.raises(Invalid, match="opened for reading"):
            await third.append("x")
        with pytest.raises(Invalid, match="one of them"):
            await machine.sys.stream("file.read", path="/etc/hostname", file=third.handle).result()

        async def body(sys: Sys) -> None:
            with pytest.raises(NoSuchProcess):
                await sys.stream("file.read", file=third.handle).result()
            await sys.files.open(f"{tmp_path}/a")

        await as_program(machine, body, f"file:{tmp_path}/** read")


async def test_an_exclusive_file_is_made_once(tmp_path: Path) -> None:
    async with kernos.testing.up() as machine:
        path = f"{tmp_path}/lock"
        await machine.sys.files.open(path, "write", exclusive=True)
        with pytest.raises(Busy, match="there already"):
            await machine.sys.files.open(path, "write", exclusive=True)
        with pytest.raises(NotFound):
            await machine.sys.files.open(f"{tmp_path}/other", "write")


async def test_names_that_are_not_utf8_are_told_and_cannot_be_named(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("x")
    (tmp_path / "café").write_text("y")
    async with kernos.testing.up() as machine:
        found = {info.name: info.foreign for info in await machine.sys.files.list(str(tmp_path))}
        assert found == {"caf\\xe9": True, "café": False}
        assert await machine.sys.files.read_text(f"{tmp_path}/café") == "y"


async def test_a_listing_is_bounded_and_says_so(tmp_path: Path) -> None:
    for n in range(300):
        (tmp_path / f"{n}").touch()
    async with kernos.testing.up() as machine:
        assert len(await machine.sys.files.list(str(tmp_path))) == 300
        some = machine.sys.files.scan(str(tmp_path), entries_max=257)
        listed = await some.result()
        assert (listed.entries, listed.more) == (257, True)
        assert not (await machine.sys.files.scan(str(tmp_path), entries_max=300).result()).more


async def test_a_reader_that_waits_is_waited_for(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(1 << 40)
    async with kernos.testing.up() as machine:
        stream = machine.sys.stream("file.read", path=f"{tmp_path}/huge")
        await stream.__anext__()
        await trio.testing.wait_all_tasks_blocked()
        assert machine.machine.devices.files.host.busy == 0, "nothing is read ahead of its reader"
        stream.close()
        await trio.testing.wait_all_tasks_blocked()
        assert [each.errno for each in await machine.trace() if each.name == "file.read"] == ["ECANCELED"]


async def test_the_error_of_a_program_says_what_to_grant(tmp_path: Path) -> None:
    async def body(sys: Sys) -> None:
        await sys.files.read(f"{tmp_path}/with space")

    async with kernos.testing.up() as machine:
        with pytest.raises(ChildFailed, match=rf"--allow 'file:{tmp_path}/with\*space read'"):
            await as_program(machine, body)

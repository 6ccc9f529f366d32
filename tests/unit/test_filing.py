"""What a file host opens never lies outside of the tree it was told: any path, any links, and renames on the way."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast, final

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from drivers.filing.beneath import probe
from drivers.filing.faults import told
from drivers.filing.tree import Files
from kernel.hosts.files import Files as PortOnFiles
from kernel.mount import private_root
from syscalls.errors import BrokenPipe, Invalid, NotFound, OutcomeUnknown, SyscallError, TryAgain
from syscalls.filepath import plain
from syscalls.filing import (
    OPEN,
    REMOVE,
    RENAME,
    WRITE,
    Changed,
    File,
    MakeFolder,
    Open,
    Opened,
    Place,
    Read,
    Rename,
    Replace,
    Scan,
    Stat,
    Tree,
    Write,
)
from syscalls.mounts import file_names, spot
from syscalls.rights import Right, allowed
from syscalls.row import Row

NAMES = st.sampled_from(["a", "b", "in", "out", "abs", "loop", "..", ".", "", "~", "proc", "x" * 300, "\udce9", "a\0b"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
SWAPS = 3000
SWAPS_MAX = 300_000


@pytest.fixture(scope="module")
def world() -> Iterator[Path]:
    """A tree with links in and out, and beside it what must not be touched."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "tree/a/b").mkdir(parents=True)
        (folder / "tree/b").write_text("inside")
        (folder / "secret").mkdir()
        (folder / "secret/b").write_text("outside")
        (folder / "tree/in").symlink_to("a")
        (folder / "tree/out").symlink_to("../secret")
        (folder / "tree/a/out").symlink_to("../../secret")
        (folder / "tree/abs").symlink_to(folder / "secret")
        (folder / "tree/loop").symlink_to("loop")
        (folder / "tree/proc").symlink_to("/proc/self/root")
        yield folder


def everything(files: Files, tree: Tree, path: str) -> list[Callable[[], Any]]:
    """Every operation that takes a path."""
    there = Place(device=0, tree=tree, path=path)
    return [
        lambda: files.open(Open(device=0, file=1, tree=tree, path=path)),
        lambda: files.open(Open(device=0, file=2, tree=tree, path=path, write=True, create=True, truncate=True)),
        lambda: files.open(Open(device=0, file=3, tree=tree, path=path, write=True, exclusive=True)),
        lambda: files.replace(Replace(device=0, tree=tree, path=path, data=b"written")),
        lambda: files.make_folder(MakeFolder(device=0, tree=tree, path=path, parents=True)),
        lambda: files.scan(Scan(device=0, file=4, tree=tree, path=path)),
        lambda: files.stat(there),
        lambda: files.rename(Rename(device=0, tree=tree, path="b", to_tree=tree, to_path=path)),
        lambda: files.rename(Rename(device=0, tree=tree, path=path, to_tree=tree, to_path="b")),
        lambda: files.remove(there),
    ]


@given(path=PATHS, follow=st.booleans())
def test_no_path_leads_out(world: Path, path: str, follow: bool) -> None:
    files = Files()
    for work in everything(files, Tree(root=str(world / "tree"), follow=follow), path):
        with suppress(SyscallError):
            work()
        for held in files._held.values():
            where = os.readlink(f"/proc/self/fd/{held.fd}")
            assert where.removesuffix(" (deleted)").startswith(f"{world}/tree")
        files.close_all()
    assert [each.name for each in (world / "secret").iterdir()] == ["b"]
    assert (world / "secret/b").read_text() == "outside"


@pytest.mark.parametrize("follow", [True, False], ids=["links", "no links"])
def test_no_rename_on_the_way_leads_out(tmp_path: Path, follow: bool) -> None:
    """A thread swaps a folder for a link that leads out, over and over, while another reads and writes through it."""
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/f").write_text("inside")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/f").write_text("outside")
    folder, link, aside = tmp_path / "tree/d", tmp_path / "tree/l", tmp_path / "tree/x"
    link.symlink_to("../secret")
    over, seen = threading.Event(), 0

    def swap() -> None:
        swaps = 0
        try:
            while swaps < SWAPS or (not seen and swaps < SWAPS_MAX):
                swaps += 1
                folder.rename(aside)
                link.rename(folder)
                folder.rename(link)
                aside.rename(folder)
        finally:
            over.set()

    swapping = threading.Thread(target=swap)
    swapping.start()
    files, tree = Files(), Tree(root=str(tmp_path / "tree"), follow=follow)
    while not over.is_set():
        with suppress(SyscallError):
            files.open(Open(device=0, file=1, tree=tree, path="d/f"))
            data = files.read(Read(device=0, file=1, offset=0, count=100)).data
            assert data in (b"inside", b"written")
            seen += 1
        files.close(File(device=0, file=1))
        with suppress(SyscallError):
            files.replace(Replace(device=0, tree=tree, path="d/f", data=b"written"))
        with suppress(SyscallError):
            files.make_folder(MakeFolder(device=0, tree=tree, path="d/g"))
    swapping.join()
    assert seen, "the race was run"
    assert [each.name for each in (tmp_path / "secret").iterdir()] == ["f"]
    assert (tmp_path / "secret/f").read_text() == "outside"


def test_a_host_that_never_heard_of_a_number_says_so() -> None:
    with pytest.raises(NotFound):
        Files().read(Read(device=0, file=7, offset=0, count=1))


def test_a_write_that_would_grow_by_more_than_was_held_is_not_done(tmp_path: Path) -> None:
    files, tree = Files(), Tree(root=str(tmp_path / "p"), private=True)
    with pytest.raises(TryAgain, match="grow by 4 bytes"):
        files.replace(Replace(device=0, tree=tree, path="a", data=b"four", grow_max=3))
    files.open(Open(device=0, file=1, tree=tree, path="a", write=True, create=True))
    with pytest.raises(TryAgain):
        files.write(Write(device=0, file=1, data=b"four", grow_max=3))
    assert files.write(Write(device=0, file=1, data=b"four", grow_max=4)).grown == 4
    files.close_all()


@final
class DyingHost:
    """A host that dies under the first call of a row, and has never heard of any file."""

    def __init__(self, dies_at: Row) -> None:
        self.dies_at: Row | None = dies_at
        self.calls: list[str] = []
        self.state = "ready"

    async def call(self, row: Row, make_args: Callable[[int], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        self.calls.append(row.name)
        if row is self.dies_at:
            self.dies_at = None
            raise BrokenPipe("the host is gone")
        return Opened(stat=Stat(kind="file", identity="same")) if row is OPEN else Changed(grown=0, size=9)


async def test_what_may_be_done_twice_is_done_again_and_nothing_else() -> None:
    where = spot("/srv/a", "file:/srv/** write", Path("/state"))

    async def written(offset: int | None) -> list[str]:
        host = DyingHost(WRITE)
        port = PortOnFiles(cast(Any, host), io_s=5.0)
        file, _ = await port.open(where, write=True)
        await port.write(file, b"x", offset=offset, grow_max=None, sync=False)
        return host.calls

    assert await written(7) == ["files.open", "files.write", "files.open", "files.write"]
    with pytest.raises(OutcomeUnknown):
        await written(None)
    with pytest.raises(OutcomeUnknown):
        await PortOnFiles(cast(Any, DyingHost(REMOVE)), io_s=5.0).remove(where)
    with pytest.raises(OutcomeUnknown):
        await PortOnFiles(cast(Any, DyingHost(RENAME)), io_s=5.0).rename(where, where)


def test_what_the_machine_says_becomes_a_sentence() -> None:
    for number, words in ((28, "disk is full"), (30, "read-only"), (122, "quota"), (13, "permissions"), (999, "EIO")):
        assert words in str(told(OSError(number, os.strerror(number)), "a"))


def test_openat2_is_there_and_holds() -> None:
    assert probe() == ""


PATTERNS = st.sampled_from(
    ["**", "file:**", "file:/**", "file:/srv/**", "file:/srv/*", "file:/srv/a", "file:/srv*/x", "file:/srv/",
     "file:/", "file:~/**", "file:~/a/**", "file:~", "file:*", "file:**/x", "file:/srv/a*/**"]
)  # fmt: skip
WANTED = st.sampled_from(["/", "/srv", "/srv/a", "/srv/a/x", "/srv2/x", "/x", "~", "~/a", "~/a/x", "/srv/ab/c/d"])


@given(pattern=PATTERNS, path=WANTED)
def test_a_spot_is_the_path_that_was_asked_for(pattern: str, path: str) -> None:
    right = allowed([Right.parse(pattern)], "read", file_names(path))
    if right is None:
        return
    home = Path("/state/files/ann")
    found = spot(path, str(right), home)
    joined = os.path.normpath(f"{found.tree.root}/{found.inner}")
    wanted = f"{home}{path[1:]}" if path.startswith("~") else path
    assert joined.replace("//", "/") == wanted
    if found.tree.follow and not found.tree.private:
        below = found.tree.root.rstrip("/") + "/any/thing"
        assert right.allows("read", f"file:{below}"), "a link may lead to whatever lies below the root"


@given(principal=st.text(max_size=20))
def test_a_principals_name_leads_nowhere_else(principal: str) -> None:
    root = private_root(Path("/state"), principal)
    assert root.parent == Path("/state/files")
    assert ".." not in root.parts


@given(text=st.text(alphabet="/.~ab\0é", max_size=12))
def test_a_plain_path_is_written_out(text: str) -> None:
    try:
        path = plain(text)
    except Invalid:
        return
    assert plain(path) == path
    assert path in (text, text[:-1])
    assert not {"", ".", ".."} & set(path.rstrip("/").split("/")[1:])

"""Parsers of documents: found by the names of files, bounded, and told of in one line when they fail."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from kernel.config import Bounds
from kernos.testing import up
from kernos.testing.machine import InProcess
from syscalls.calls import device
from syscalls.errors import Invalid, IOFailed, NotFound, OverLimit, PermissionDenied, SyscallError
from syscalls.package import RECORD, Installed, Manifest, write_json
from syscalls.parsing import PLAIN, Parser, kinds_of
from syscalls.rights import Right
from userland.documents import Document, Skipped
from userland.programs.reading import document, documents
from userland.sdk.program import program
from userland.sdk.system import Sys

MODULE = "tests.parser_module"
PARSERS = {
    name: Parser(parse=f"{MODULE}:{name}", suffixes=(f".{name}",))
    for name in ("lines", "hangs", "endless", "number", "refuses", "surrogate", "gone")
} | {"named": Parser(parse=f"{MODULE}:named", suffixes=(".tar.named",), types=("text/named",))}


def install(folder: Path, *, name: str = "reader", parsers: dict[str, Parser] | None = None) -> None:
    """Writes the record of a package whose modules are this repository's."""
    manifest = Manifest(name=name, version="1.0", parsers=PARSERS if parsers is None else parsers)
    record = Installed(manifest=manifest, release="1.0-abc", sha256="0" * 64, granted=("topic:news publish",))
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / RECORD).write_bytes(write_json(record))


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    install(tmp_path / "packages")
    return tmp_path / "packages"


def kernel(packages: Path, **config: Any) -> InProcess:
    return up(config={"packages": str(packages)}, **config)


@program
async def reads(sys: Sys, folder: str) -> list[str]:
    """Reads a folder as the shipped programs do."""
    found = [each async for each in documents(sys, Path(folder))]
    return [str(each) if isinstance(each, Skipped) else f"{each.name} {len(each.passages)}" for each in found]


async def test_a_parser_is_found_by_name_and_type_and_makes_text(packages: Path) -> None:
    async with kernel(packages) as machine:
        parsers = await machine.sys.parsers()
        assert await parsers(b"one\ntwo", file="a/B.LINES") == "one\n\ntwo"
        assert await parsers(b"one", file="x.tar.named") == "x.tar.named: 3"
        assert await parsers(b"one", file="x.lines", type_="Text/Named; charset=utf-8") == "x.lines: 3"
        assert parsers.match("named") is None and parsers.match("x.lines.txt") is None
        with pytest.raises(NotFound, match=r"parses x\.pdf: there are parsers of \.endless"):
            await parsers(b"", file="x.pdf")
        table: device.ParserTable = await machine.sys.call("device.parsers")
        (one,) = [each for each in table.parsers if each.name == "reader.named"]
        assert (one.package, one.version, one.suffixes) == ("reader", "1.0", (".tar.named",))


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("hangs", OverLimit, "parser reader.hangs was ended: wall: 30 s"),
        ("endless", IOFailed, "more than 8388608 bytes of text come of it"),
        ("number", IOFailed, "it gave a int: a parser returns text"),
        ("gone", IOFailed, "has no function 'gone'"),
        ("nobodys", NotFound, "no parser 'reader.nobodys'; there are: reader.endless, reader.gone"),
    ],
)
async def test_one_that_fails_says_so(
    autojump_clock: MockClock, packages: Path, name: str, error: type[SyscallError], why: str
) -> None:
    async with kernel(packages) as machine:
        with pytest.raises(error) as failed:
            await machine.sys.call("device.parse", parser=f"reader.{name}", data=b"x", file="x")
        assert why in failed.value.message
        assert not [each for each in machine.machine.processes if each.kind == "tool"], "its worker is gone"


async def test_what_a_parser_says_is_one_short_line_and_never_an_errno_to_act_on(packages: Path) -> None:
    async with kernel(packages) as machine:
        with pytest.raises(IOFailed) as failed:
            await machine.sys.call("device.parse", parser="reader.refuses", data=b"", file="x")
        assert failed.value.message.isprintable() and len(failed.value.message) < 200
        assert await machine.sys.call("device.parse", parser="reader.surrogate", data=b"") == device.ParsedDocument(
            text="a?b"
        )


async def test_the_worker_of_a_document_holds_nothing(packages: Path) -> None:
    install(packages, parsers={"asks": Parser(parse=f"{MODULE}:lines", suffixes=(".asks",))})
    async with kernel(packages) as machine:
        born: list[tuple[str, str, int]] = []
        machine.machine.processes.at_start.append(
            lambda process: born.append((process.name, process.kind, len(process.rights)))
        )
        for _ in range(2):
            await machine.sys.call("device.parse", parser="reader.asks", data=b"x")
        assert born == [("reader.asks", "tool", 0)] * 2, "one for each document, without a right of its package"


async def test_the_worker_of_a_document_is_granted_nothing_whatever_it_asks_for(packages: Path) -> None:
    """A document may have taken its parser over: what the operator lets every program have is not for that."""
    right = Right.parse("topic:news publish")
    config = {"packages": str(packages), "requests": {"allow": [str(right)]}}
    async with up(config=config) as machine, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: machine.sys.call("device.parse", parser="reader.hangs", data=b"x"))
        while not (born := [each for each in machine.machine.processes if each.name == "reader.hangs"]):
            await trio.lowlevel.checkpoint()
        with pytest.raises(PermissionDenied, match="does not get 'topic:news publish': a parser of documents holds no"):
            await machine.machine.requests.ask(born[0], right, reason="to tell")
        nursery.cancel_scope.cancel()


async def test_a_parser_that_is_taken_away_ends_at_its_document(packages: Path, autojump_clock: MockClock) -> None:
    async with kernel(packages, bounds=Bounds(parses_max=1)) as machine:

        async def parse() -> None:
            with pytest.raises(NotFound, match=r"parser reader\.hangs was taken away, or is another now"):
                await machine.sys.call("device.parse", parser="reader.hangs", data=b"x")

        async with trio.open_nursery() as nursery:
            for _ in range(2):  # the second waits for its turn
                nursery.start_soon(parse)
            await trio.sleep(1)
            install(packages, parsers={"lines": PARSERS["lines"]})
            await machine.sys.call("kernel.packages", look=True)
            await trio.sleep(1)
            assert [process for process in machine.machine.processes if process.kind == "tool"] == []


async def test_a_document_is_bounded_and_so_is_how_many_at_once(packages: Path) -> None:
    async with kernel(packages, bounds=Bounds(parsed_bytes_max=4, parses_max=1)) as machine:
        with pytest.raises(IOFailed, match="more than 4 bytes"):
            await machine.sys.call("device.parse", parser="reader.lines", data=b"12\n34")
        with pytest.raises(Invalid, match="split it"):
            await machine.sys.call("device.parse", parser="reader.lines", data=bytes((15 << 20) + 1))
        assert machine.machine.plugins.parsers._seats.held == {}


async def test_a_folder_is_read_with_parsers_and_one_bad_file_is_one_line(packages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("plain")
    (folder / "b.lines").write_bytes(b"\xff")
    (folder / "c.lines").write_text("good\0 though binary")
    (folder / "d.refuses").write_text("x")
    (folder / "e.lines").write_text("")
    async with kernel(packages, programs={"reads": reads}) as machine:
        told = await machine.run("reads", str(folder), rights=("parser:*",))
        assert told[0] == "a.txt 1" and told[2] == "c.lines 1" and told[4] == "skipped e.lines: empty"
        assert "skipped b.lines: parser reader.lines failed: UnicodeDecodeError: 'utf-8' codec" in told[1]
        assert told[3].startswith("skipped d.refuses: parser reader.refuses failed: ValueError: grant me more: ?[31m")
        without = await machine.run("reads", str(folder), rights=())
        assert without[2:4] == [
            "skipped c.lines: binary, not text: convert it, or install a package that parses it",
            "d.refuses 1",
        ]
        listed = await machine.run("reads", str(folder), rights=("parser:* list",))
        assert "lacks the right 'parser:reader.lines parse'" in listed[2]


async def test_files_are_parsed_side_by_side_and_told_of_in_order(packages: Path, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.{'txt' if number % 4 == 1 else 'lines'}").write_text(f"file {number}")
    async with kernel(packages) as machine:
        alive: list[int] = []
        table = machine.machine.processes
        table.at_start.append(lambda process: alive.append(sum(each.kind == "tool" for each in table)))
        found = [each async for each in documents(machine.sys, folder)]
        assert [each.name[0] for each in found] == [str(number) for number in range(10)]
        assert [each.passages[0].text for each in found if isinstance(each, Document)] == [
            f"file {number}" for number in range(10)
        ]
        assert max(alive) == 4, "as many as bounds.parses_max"


async def test_one_file_by_itself(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "a.lines").write_text("one")
    async with kernel(packages) as machine:
        found = await document(machine.sys, tmp_path / "a.lines")
        assert isinstance(found, Document) and found.passages[0].text == "one"
        with pytest.raises(IOFailed, match="is no file"):
            await document(machine.sys, tmp_path / "none")


async def test_two_packages_for_the_same_files_are_told_of_and_the_first_has_them(packages: Path) -> None:
    install(packages, name="second", parsers={"x": Parser(parse=f"{MODULE}:named", suffixes=(".new", ".lines"))})
    async with kernel(packages) as machine:
        names = {each.name for each in (await machine.sys.call("device.parsers")).parsers}
        assert "second.x" not in names and "reader.lines" in names
        assert "parser_hidden" in {record.kind for record in await machine.trace()}


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "say which files it is for"),
        ({"suffixes": ["html"]}, "with its dot"),
        ({"suffixes": [".HTML"]}, "write it small"),
        ({"suffixes": [".a/b"]}, "is no suffix"),
        ({"types": ["html"]}, "is no media type"),
        ({"suffixes": [".txt"]}, "is text as it is"),
        ({"types": ["text/plain"]}, "is text as it is"),
        ({"suffixes": [f".a{n}" for n in range(17)]}, "16 at most"),
        ({"suffixes": [".a"], "parse": "m"}, "write MODULE:NAME"),
        ({"suffixes": [".a"], "parse": "m:*"}, "write MODULE:NAME"),
        ({"suffixes": [".a"], "more": 1}, "unknown field `more`"),
    ],
)
def test_a_parser_that_makes_no_sense_says_why(keys: dict[str, Any], why: str) -> None:
    told = {"name": "a", "version": "1", "parsers": {"x": {"parse": "m:x", **keys}}}
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert(told, Manifest)


def test_two_parsers_of_a_package_are_not_for_the_same_files() -> None:
    both = {name: Parser(parse="m:x", suffixes=(f".{name}",), types=("text/html",)) for name in ("a", "b")}
    with pytest.raises(ValueError, match="parsers a and b are both for text/html"):
        Manifest(name="x", version="1", parsers=both)


@given(st.text(alphabet="aB./ ;", max_size=12), st.text(alphabet="a/; ", max_size=6))
def test_the_kinds_of_a_file_end_its_name(file: str, type_: str) -> None:
    found = list(kinds_of(file, type_))
    suffixes = [kind for kind in found if kind.startswith(".") and "/" not in kind]
    assert all(file.lower().endswith(kind) for kind in suffixes)
    assert suffixes == sorted(suffixes, key=len, reverse=True) and not set(suffixes) & PLAIN

"""The manual: golden for one row, and every row of the table is documented."""

import json
from pathlib import Path
from typing import Literal, final

import pytest
from msgspec import Raw

from syscalls.errors import Errno
from syscalls.row import Args, Flag, Needs, Result, Row, Says
from syscalls.signals import Signal
from syscalls.table import TABLE
from syscalls.wire import NIL
from userland.cli import manual, reference
from userland.cli.main import execute
from userland.cli.session import Session


@final
class Pour(Args, frozen=True, kw_only=True):
    """How much of what.

    `litres` at most 3.
    """

    pid: int
    what: Literal["tea", "water"] = "tea"
    litres: float | None = None
    into: tuple[str, ...] = ()
    body: Raw = NIL


@final
class Poured(Result, frozen=True, kw_only=True):
    """What came out."""

    cups: int = 0


ROW = Row(
    0xB7, "tea.pour", Pour, Poured, Needs("pour", "process:{pid}"), Flag.STREAM | Flag.EFFECT,
    "Pours.", Poured,
    says=Says(
        waits="Waits for the kettle.", cancelled="The cup is half full.", errors=((Errno.ETIME, "it was too hot."),)
    ),
)  # fmt: skip
GOLDEN = """\
TEA.POUR(2)                       kernos system calls                        TEA.POUR(2)

NAME
    tea.pour - Pours

SYNOPSIS
    tea.pour(pid: int, what: tea|water = 'tea', litres: float | none = none, into: [str,
            …] = [], body: msgpack = nil) -> stream of Poured, then Poured

DESCRIPTION
    Pours.

    How much of what.

    `litres` at most 3.

ARGUMENTS
    pid     int
    what    tea|water = 'tea'
    litres  float | none = none
    into    [str, …] = []
    body    msgpack = nil

ITEMS
    Poured: What came out.

    cups  int = 0

RETURN VALUE
    Poured: What came out.

    cups  int = 0

ERRORS
    EPERM       the caller lacks the right; the message names it and how to grant it.
    ESRCH       there is no such process.
    EINVAL      the arguments do not fit the row of the table; the message names the
                field.
    EQUOTA      the account, or one above it, has made all the calls that it may.
    ETIME       it was too hot.
    ECANCELED   the caller cancelled it.

WAITING
    Waits for the kettle.

CANCELLATION
    The cup is half full.

COST
    Nothing but the call.

JOURNAL
    Nothing is recorded: it is the operator's, not a program's.

RIGHT
    process:{pid} pour    (to grant it: kernos run --allow 'process:* pour' ...)

FLAGS
    STREAM      gives items before its result
    EFFECT      changes the world outside the caller

NUMBER
    0xB7
"""


def test_page_is_made_from_the_row() -> None:
    assert "".join(line + "\n" for line in manual.page(ROW)) == GOLDEN


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_every_call_has_a_whole_page(row: Row) -> None:
    lines = manual.page(row)
    text = "\n".join(lines)
    for name, kind, _ in manual.fields_of(row.args):
        assert any(line.split()[:1] == [name] and kind in line for line in lines), f"{name} is not described"
    assert max(map(len, lines)) <= manual.WIDTH + 4
    assert manual.summary(row) and row.args.__doc__
    assert all(name in Errno.__members__ for name in manual.errors_of(row))
    assert row.needs is None or row.needs.action in text


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = execute(words, Session())
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_man_needs_no_kernel_and_lists_every_call(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "man")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[1:]] == [TABLE[n].name for n in sorted(TABLE)]


def test_man_finds_a_call_by_the_end_of_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "process.spawn - " in run(capsys, "man", "spawn")[1]


def test_man_of_an_unknown_name_suggests(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "man", "procss.spawn")
    assert (code, out) == (3, "")
    assert "did you mean process.spawn?" in err
    assert run(capsys, "man", "generate")[2].count("context.generate or model.generate") == 1


def test_man_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "man", "process.kill", "-o", "json")[1])
    assert found["number"] == 3
    assert {"name": "signal", "type": "int", "default": "15"} in found["arguments"]
    assert {row["name"] for row in json.loads(run(capsys, "syscalls", "-o", "json")[1])} == {
        r.name for r in TABLE.values()
    }


def test_the_page_in_docs_is_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "man", "-o", "md")
    assert code == 0
    page = Path(__file__).parents[2] / "docs" / "syscalls.md"
    assert page.read_text() == out, "run: kernos man -o md > docs/syscalls.md"


@pytest.mark.parametrize("name", ["errno", "signals", "signal"])
def test_pages_of_errors_and_signals_have_them_all(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "man", name)
    words = out.split()
    assert code == 0
    assert all(member.name in words for member in (Errno if name == "errno" else Signal))
    assert max(map(len, out.splitlines())) <= manual.WIDTH + 4


def test_a_page_in_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "man", "process.kill", "-o", "md")[1]
    assert out.startswith("### process.kill\n")


def test_every_family_has_a_heading() -> None:
    assert {reference.family_of(row) for row in TABLE.values()} <= set(reference.FAMILIES)

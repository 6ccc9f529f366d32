"""The table: every row whole, every number once, every error a class."""

import builtins
import inspect

import msgspec
import pytest

from syscalls import driver, worker
from syscalls.codec import pack, parse_args
from syscalls.errors import CLASS_OF, Errno, Invalid, IOFailed, syscall_error
from syscalls.row import Args, Flag, Row
from syscalls.table import BY_NAME, FREE, RESERVED, TABLE
from syscalls.wire import NIL

FAMILIES = {
    "process": 0x00,
    "context": 0x10,
    "model": 0x20,
    "message": 0x30,
    "device": 0x40,
    "file": 0x50,
    "net": 0x60,
    "time": 0x70,
    "capability": 0x80,
    "account": 0x90,
    "kernel": 0xA0,
}


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_a_row_is_whole(row: Row) -> None:
    family, _, _ = row.name.partition(".")
    assert FAMILIES[family] <= row.number < FAMILIES[family] + 0x10
    assert issubclass(row.args, Args)
    assert row.doc.endswith(".")
    assert inspect.getdoc(row.args), "its arguments are documented: the manual is made from this"
    assert not (row.inline and row.streams), "what streams may wait"
    assert row.streams == (Flag.STREAM in row.flags), "what streams has items"


def test_numbers_once_and_names_once() -> None:
    assert len(BY_NAME) == len(TABLE)
    assert not set(TABLE) & set(RESERVED)
    assert {row.name for row in TABLE.values() if row.needs is None} == FREE


@pytest.mark.parametrize("table", [driver.TABLE, worker.TABLE], ids=["driver", "worker"])
def test_the_other_tables_are_keyed_by_number(table: dict[int, Row]) -> None:
    assert all(row.number == number for number, row in table.items())


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_unknown_fields_are_refused_by_name(row: Row) -> None:
    with pytest.raises(Invalid, match=row.name.replace(".", r"\.")):
        parse_args(row, msgspec.Raw(pack({"no_such_field": 1})))


def test_no_arguments_may_be_nil() -> None:
    parse_args(BY_NAME["time.now"], NIL)


@pytest.mark.parametrize("errno", Errno)
def test_every_errno_is_a_class_with_a_builtin_base(errno: Errno) -> None:
    error = syscall_error(errno, "do this instead")
    assert error.errno is errno
    assert str(error) == f"{errno.name}: do this instead"
    assert any(base.__module__ == "builtins" for base in CLASS_OF[errno].__bases__[1:])
    assert not hasattr(builtins, CLASS_OF[errno].__name__)


def test_an_errno_of_the_future_is_an_io_error_that_says_so() -> None:
    error = syscall_error(999, "beyond us")
    assert isinstance(error, IOFailed)
    assert "999" in str(error)


def test_what_cannot_cross_is_refused_with_a_hint() -> None:
    with pytest.raises(Invalid, match="send numbers"):
        pack(object())


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_a_row_says_what_it_waits_for_what_it_leaves_and_what_its_errors_mean(row: Row) -> None:
    says = row.says
    assert bool(says.waits) != row.inline, "what may wait says for what; what is answered at once waits for nothing"
    if Flag.EFFECT in row.flags and not row.inline:
        assert says.cancelled, "an effect that is cancelled leaves something behind, or nothing: which?"
    told = [errno for errno, _ in says.errors]
    assert len(told) == len(set(told))
    for text in (says.waits, says.cancelled, says.costs, *(meaning for _, meaning in says.errors)):
        assert not text or text.endswith("."), text
    assert not any(name in row.doc for name in Errno.__members__), "errors stand in says, once"
